//! maily-k8s
