; Colours. A later pattern wins over an earlier one in Neovim; no word is caught by two patterns that disagree.

(comment) @comment
(doc_comment) @comment.documentation
(text) @string
(number) @number

["bpm" "import"] @keyword.import
["dim" "network" "rule" "cell"] @keyword
["plastic" "transmit" "using" "per" "reset" "next" "external" "allow" "connect" "where"] @keyword
(declaration_word) @keyword
["when" "on"] @keyword.conditional
["for" "in"] @keyword.repeat

["=" "<-" "->" "~" ".." "==" "!=" "<=" ">=" "<" ">" "+" "-" "*" "/" "^" "||" "&&" "!"] @operator
["(" ")" "[" "]" "{" "}"] @punctuation.bracket
["," ":" ";" "."] @punctuation.delimiter

(network name: (identifier) @type)
(rule name: (identifier) @function)
(cell name: (identifier) @function)
(using name: (identifier) @function)
(parameter name: (identifier) @variable.parameter)
(dim name: (identifier) @constant)

(block keyword: (identifier) @keyword)
(block name: (identifier) @type)
(setting key: (path) @property)

(declared name: (identifier) @variable)
(value name: (identifier) @variable)
(update name: (identifier) @variable)
(plastic name: (identifier) @variable)
(instance name: (identifier) @variable)
(repetition variable: (identifier) @variable)
(region side: (identifier) @variable.builtin)

(call function: (identifier) @function.call)
(argument name: (identifier) @variable.parameter)
(external name: (identifier) @variable.builtin)
(per granularity: (identifier) @constant.builtin)
(reset policy: (identifier) @constant.builtin)
(allowance code: (identifier) @constant)

(member name: (identifier) @property)
(side (path (identifier) @variable))
(next (path (identifier) @variable))
((path . (identifier) @variable.builtin)
  (#any-of? @variable.builtin "pre" "post" "task" "train" "target"))
