(network "network" @context name: (identifier) @name) @item
(rule "rule" @context name: (identifier) @name) @item
(cell "cell" @context name: (identifier) @name) @item
(plastic "plastic" @context name: (identifier) @name) @item
(instance "cell" @context name: (identifier) @name) @item
(dim "dim" @context name: (identifier) @name) @item
(block keyword: (identifier) @context name: (identifier) @name) @item
