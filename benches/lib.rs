//! Nothing lives here: the package exists for its bench targets (`micro`, `load`).
