package fingerprint

import (
	"errors"
	"io"
	"io/fs"
	"os"
)

// readSome reads the beginning of a regular file, up to a limit in bytes.
func readSome(path string, limit int) ([]byte, fs.FileMode, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = f.Close() }() // it was only read
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, &fs.PathError{Op: "read", Path: path, Err: errors.New("it is no regular file")}
	}
	data, err := io.ReadAll(io.LimitReader(f, int64(limit)))
	return data, info.Mode(), err
}
