//! The parameters of a network on the host.

use crate::ir::rng::{fill, path_hash, Key, Stream};
use crate::ir::{ParamId, ParamSlot};

/// One parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Its path in the spec, `rec.alpha`.
    pub path: String,
    /// Its dimensions.
    pub dims: Vec<usize>,
    /// True if the optimizer moves it.
    pub trained: bool,
    /// Factor on its gradient before clipping.
    pub grad_scale: f64,
    /// Its values, the last dimension contiguous.
    pub values: Vec<f32>,
}

/// All parameters, in the order of the graph's [`ParamSlot`]s.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ParamStore {
    parameters: Vec<Parameter>,
}

/// The first values of a parameter. Each depends on the seed, the parameter's path and the element's number alone, so
/// adding a parameter changes no other. Training rounds them to 32 bits.
pub fn draw(slot: &ParamSlot, seed: u64) -> Vec<f64> {
    let place = Key::new(seed, Stream::Init(path_hash(&slot.path))).at(0, 0, 0);
    let columns = slot.dims.last().copied().unwrap_or(1);
    let mut drawn = vec![0.0; slot.dims.iter().product()];
    fill(&slot.init, place, columns, &mut drawn);
    drawn
}

impl ParamStore {
    /// Draws the first values.
    pub fn init(slots: &[ParamSlot], seed: u64) -> ParamStore {
        let parameters = slots
            .iter()
            .map(|slot| Parameter {
                path: slot.path.clone(),
                dims: slot.dims.clone(),
                trained: slot.trained,
                grad_scale: slot.grad_scale,
                values: draw(slot, seed).iter().map(|value| *value as f32).collect(),
            })
            .collect();
        ParamStore { parameters }
    }

    /// A parameter of the graph the store was made from.
    pub fn get(&self, id: ParamId) -> &Parameter {
        &self.parameters[id.index()]
    }

    /// The parameter with this path.
    pub fn find(&self, path: &str) -> Option<&Parameter> {
        self.parameters.iter().find(|p| p.path == path)
    }

    /// All of them, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Parameter> {
        self.parameters.iter()
    }

    /// All of them, to be changed; lengths stay as they are.
    pub fn iter_mut(&mut self) -> std::slice::IterMut<'_, Parameter> {
        self.parameters.iter_mut()
    }

    /// The trained ones, in order.
    pub fn trained(&self) -> impl Iterator<Item = &Parameter> {
        self.parameters.iter().filter(|p| p.trained)
    }

    /// Ids of the trained ones, in order: the order of gradients and of optimizers.
    pub fn trained_ids(&self) -> Vec<ParamId> {
        (0..self.parameters.len() as u32)
            .map(ParamId)
            .filter(|id| self.get(*id).trained)
            .collect()
    }

    /// Values of the trained ones, for [`crate::learn::optim::Optimizer::step`].
    pub fn trained_values_mut(&mut self) -> Vec<&mut [f32]> {
        self.parameters
            .iter_mut()
            .filter(|p| p.trained)
            .map(|p| p.values.as_mut_slice())
            .collect()
    }

    /// Lengths of the trained ones.
    pub fn trained_lengths(&self) -> Vec<usize> {
        self.trained().map(|p| p.values.len()).collect()
    }

    /// Factors on the gradients of the trained ones, for [`crate::learn::gradient::scale`].
    pub fn trained_scales(&self) -> Vec<f64> {
        self.trained().map(|p| p.grad_scale).collect()
    }

    /// All values in f64, as a step takes them: by slot.
    pub fn wide(&self) -> Vec<Vec<f64>> {
        let wide = |p: &Parameter| p.values.iter().map(|x| f64::from(*x)).collect();
        self.parameters.iter().map(wide).collect()
    }

    /// Numbers in trained parameters.
    pub fn numel(&self) -> usize {
        self.trained().map(|p| p.values.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::ParamStore;
    use crate::ir::{Draw, ParamId, ParamSlot};

    fn slot(path: &str, dims: &[usize], trained: bool, init: Draw) -> ParamSlot {
        ParamSlot {
            path: path.to_owned(),
            dims: dims.to_vec(),
            trained,
            init,
            grad_scale: 0.5,
            span: None,
        }
    }

    #[test]
    fn a_new_parameter_changes_no_other() {
        let w = slot("rec.w", &[3, 4], true, Draw::Uniform(0.0, 0.01));
        let alpha = slot("rec.alpha", &[3, 4], true, Draw::Uniform(0.0, 0.01));
        let mask = slot("mask", &[4], false, Draw::Bernoulli(0.5));
        let few = ParamStore::init(std::slice::from_ref(&w), 3);
        let more = ParamStore::init(&[mask, alpha, w.clone()], 3);
        assert_eq!(few.find("rec.w"), more.find("rec.w"));
        assert_ne!(
            more.find("rec.w").unwrap().values,
            more.find("rec.alpha").unwrap().values
        );
        assert_ne!(few, ParamStore::init(std::slice::from_ref(&w), 4));
        assert_ne!(few, ParamStore::init(&[w], 3 | 1 << 50));
        assert!(few
            .get(ParamId(0))
            .values
            .iter()
            .all(|x| (0.0..0.01).contains(x)));
    }

    #[test]
    fn only_trained_parameters_are_handed_out() {
        let mut store = ParamStore::init(
            &[
                slot("eta", &[], true, Draw::Constant(0.1)),
                slot("mask", &[5], false, Draw::Bernoulli(0.5)),
                slot("w", &[2, 2], true, Draw::Identity(2.0)),
            ],
            0,
        );
        assert_eq!(store.numel(), 5);
        assert_eq!(store.trained_ids(), [ParamId(0), ParamId(2)]);
        assert_eq!(store.trained_lengths(), [1, 4]);
        assert_eq!(store.trained_scales(), [0.5, 0.5]);
        let values = store.trained_values_mut();
        assert_eq!(values, [&[0.1][..], &[2.0, 0.0, 0.0, 2.0]]);
        assert_eq!(store.iter().count(), 3);
        assert!(store.find("nothing").is_none());
    }
}
