//! Every rule of the engine that can be taken away is missed by somebody.
