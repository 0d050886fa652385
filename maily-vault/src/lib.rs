//! maily-vault
