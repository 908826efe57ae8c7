//! Values of sparse bundles: gathered from neurons to connections, and scattered back.

use super::{Lowerer, SOUND};
use crate::ir::{Binary, Indices, Op, ValueId};
use crate::lang::sema::model::{Connections, Over, Side, Type};

impl<'a> Lowerer<'a> {
    /// The connections of a sparse bundle, where a value of one side becomes one per connection.
    pub(super) fn gathered(&self, from: Type, to: Type) -> Option<(&'a Connections, Side)> {
        let (
            Type::Element { pre, post, .. },
            Type::Element {
                bundle,
                pre: true,
                post: true,
            },
        ) = (from, to)
        else {
            return None;
        };
        let side = match (pre, post) {
            (true, false) => Side::Pre,
            (false, true) => Side::Post,
            _ => return None,
        };
        let connections = self.model.bundles[bundle.index()].connections.as_ref()?;
        Some((connections, side))
    }

    /// The neurons that the connections of a sparse bundle reach, where a value per connection is summed up over `side`.
    pub(super) fn scattered(&self, side: Over, x: Type) -> Option<&'a Indices> {
        let (
            Over::Side(side),
            Type::Element {
                bundle,
                pre: true,
                post: true,
            },
        ) = (side, x)
        else {
            return None;
        };
        let connections = self.model.bundles[bundle.index()].connections.as_ref()?;
        Some(match side {
            Side::Pre => &connections.post,
            Side::Post => &connections.pre,
        })
    }

    /// The number of connections of each neuron, at least 1.
    pub(super) fn connections_of(&mut self, reached: Option<&Indices>) -> ValueId {
        let Some(reached) = reached else {
            return self.graph.constant(1.0);
        };
        let one = self.graph.fill(1.0, &[reached.at().len()]).expect(SOUND);
        let op = Op::Scatter(reached.clone());
        let count = self.graph.add(op, &[one]).expect(SOUND);
        let one = self.graph.fill(1.0, &[reached.size()]).expect(SOUND);
        self.graph.binary(Binary::Max, count, one).expect(SOUND)
    }
}
