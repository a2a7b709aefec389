//! Nothing lives here: the package exists for its test targets (`tidy`, `golden`, `sim`, `e2e`).
