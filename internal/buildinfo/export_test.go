package buildinfo

// ReadFrom is Read with the linker's words and the toolchain's record given.
var ReadFrom = read
