//! Steps become calls of the ports. No decisions here.
