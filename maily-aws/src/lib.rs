//! maily-aws
