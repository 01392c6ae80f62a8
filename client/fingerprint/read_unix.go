//go:build !windows

package fingerprint

import (
	"errors"
	"io/fs"
	"syscall"
)

// errNoFile: a pipe would keep the reader waiting, and a folder cannot be read.
var errNoFile = errors.New("it is no regular file")

// readSome reads the beginning of a regular file, up to a limit in bytes, and
// says who may read it. It goes around package os, which prepares each file for
// waiting: that costs a process that has just begun more than all the reading.
func readSome(path string, limit int) (data []byte, mode fs.FileMode, err error) {
	fail := func(err error) ([]byte, fs.FileMode, error) {
		return nil, 0, &fs.PathError{Op: "read", Path: path, Err: err}
	}
	fd, err := again(func() (int, error) {
		return syscall.Open(path, syscall.O_RDONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	})
	if err != nil {
		return fail(err)
	}
	defer func() { _ = syscall.Close(fd) }() // it was only read
	var stat syscall.Stat_t
	if err := syscall.Fstat(fd, &stat); err != nil {
		return fail(err)
	}
	if stat.Mode&syscall.S_IFMT != syscall.S_IFREG {
		return fail(errNoFile)
	}
	var short [1024]byte
	buffer := short[:]
	for {
		n, err := again(func() (int, error) { return syscall.Read(fd, buffer[:min(len(buffer), limit-len(data))]) })
		if err != nil {
			return fail(err)
		}
		data = append(data, buffer[:n]...)
		if n <= 0 || len(data) >= limit {
			return data, fs.FileMode(stat.Mode & 0o777), nil
		}
	}
}

// again calls do until no signal interrupts it.
func again(do func() (int, error)) (int, error) {
	for {
		n, err := do()
		if !errors.Is(err, syscall.EINTR) {
			return n, err
		}
	}
}
