"""django-prometheus, the peer, beside us: the same traffic, the same project, moved over."""
