; Names belong to the body in which they are declared; bodies see the names around them.
[(body) (rule) (cell)] @local.scope

(dim name: (identifier) @local.definition.constant)
(rule name: (identifier) @local.definition.function)
(cell name: (identifier) @local.definition.function)
(parameter name: (identifier) @local.definition.parameter)
(declared name: (identifier) @local.definition.var)
(value name: (identifier) @local.definition.var)
(plastic name: (identifier) @local.definition.var)
(instance name: (identifier) @local.definition.var)
(repetition variable: (identifier) @local.definition.var)

(path . (identifier) @local.reference)
(update name: (identifier) @local.reference)
(using name: (identifier) @local.reference)
(call function: (identifier) @local.reference)
