def window_join_node(window, options):
    raise NotImplementedError
