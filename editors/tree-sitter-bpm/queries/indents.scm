; Neovim.
[(body) (entries) (parameters) (arguments) (list) (group)] @indent.begin
["}" ")" "]"] @indent.branch
["}" ")" "]"] @indent.end
[(comment) (doc_comment)] @indent.ignore
