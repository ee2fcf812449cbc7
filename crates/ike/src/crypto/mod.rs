//! Phase 1 and 2 cryptography.
