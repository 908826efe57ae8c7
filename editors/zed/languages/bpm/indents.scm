(body "}" @end) @indent
(entries "}" @end) @indent
(parameters ")" @end) @indent
(arguments ")" @end) @indent
(list "]" @end) @indent
