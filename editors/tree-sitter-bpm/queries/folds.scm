[(body) (entries) (parameters) (list)] @fold
