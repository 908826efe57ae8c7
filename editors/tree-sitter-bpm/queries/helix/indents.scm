; Helix.
[(body) (entries) (parameters) (arguments) (list) (group)] @indent
["}" ")" "]"] @outdent
