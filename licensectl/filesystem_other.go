//go:build !linux && !darwin && !freebsd

package main

// fileSystem does not know on this system.
func fileSystem(string) (kind string, remote, known bool) { return "", false, false }
