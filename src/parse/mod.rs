//! Text becomes a tree of nodes with spans, and that a site; all errors of a file at once.
