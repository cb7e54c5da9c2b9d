//! Where the world begins: Docker, files, sockets, the clock.
