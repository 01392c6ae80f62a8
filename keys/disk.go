package keys

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/seed-357fa782/licensed/internal/durable"
	"github.com/seed-357fa782/licensed/license"
)

// The layout of a key folder.
const (
	identityFile       = "identity"
	sealedIdentityFile = "identity.age"
	anchorsFile        = "anchors.json"
	anchorsDir         = "anchors"
	primaryFile        = "primary.pem.age"
	standbyFile        = "standby.pem.age"
	signingDir         = "signing"
	keySuffix          = ".pem.age"
	dataKeyFile        = "data.key.age"
	keySetFile         = "keyset.jwt"
	stateFile          = "state.json"
)

const (
	secretPerm fs.FileMode = 0o600
	publicPerm fs.FileMode = 0o644

	maxFile = 1 << 20 // bytes of any file in a key folder
)

// exposure is which permissions a file must not have.
type exposure fs.FileMode

const (
	secret exposure = 0o077 // nothing for group and others
	public exposure = 0o022 // readable, but not to be changed
	anyone exposure = 0
)

// disk changes files, one durable step at a time. Tests put a hook before and
// after the steps.
type disk struct {
	hook func(action, path string, do func() error) error
}

func (d disk) step(action, path string, do func() error) error {
	if d.hook != nil {
		return d.hook(action, path, do)
	}
	return do()
}

func (d disk) write(path string, data []byte, perm fs.FileMode) error {
	return d.step("write", path, func() error { return durable.WriteFile(path, data, perm) })
}

func (d disk) remove(path string) error {
	return d.step("remove", path, func() error { return durable.Remove(path) })
}

func (d disk) mkdir(path string) error {
	return d.step("mkdir", path, func() error { return durable.MkdirAll(path) })
}

func (d disk) rename(from, to string) error {
	return d.step("rename", to, func() error {
		if err := os.Rename(from, to); err != nil {
			return fmt.Errorf("put the new folder in place: %w", err)
		}
		return nil
	})
}

// readFile returns the content of a file of a key folder, and refuses one that
// is open to more than x allows.
func readFile(path string, x exposure) (b []byte, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, license.Errorf(license.Damaged, "%s is missing: bring it back from a copy", path).WithCause(err)
	}
	if err != nil {
		return nil, fmt.Errorf("read a key file: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read a key file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, damaged(path, "it is not a file")
	}
	if err := checkMode(path, info.Mode(), x); err != nil {
		return nil, err
	}
	b, err = io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read a key file: %w", err)
	}
	if len(b) > maxFile {
		return nil, damaged(path, fmt.Sprintf("it is larger than %d bytes", maxFile))
	}
	return b, nil
}

// checkMode refuses permissions that x forbids. On Windows they say nothing.
func checkMode(path string, mode fs.FileMode, x exposure) error {
	open := mode.Perm() & fs.FileMode(x)
	if open == 0 || runtime.GOOS == "windows" {
		return nil
	}
	what, mend := "can be read by others", "go-rwx"
	if open&0o022 != 0 {
		what = "can be changed by others"
	}
	if x == public {
		mend = "go-w"
	}
	return license.Errorf(license.Forbidden, "%s %s (mode %04o): chmod %s %s", path, what, mode.Perm(), mend, path)
}

// checkFolder answers NotFound when there is no key folder at dir, or an empty
// one, and refuses one in which others can exchange files.
func checkFolder(dir string) error {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return license.Errorf(license.NotFound, "there is no key folder at %s", dir)
	}
	if err != nil {
		return fmt.Errorf("look for the key folder: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("read the key folder: %w", err)
	}
	if len(entries) == 0 {
		return license.Errorf(license.NotFound, "the key folder %s is empty", dir)
	}
	return checkMode(dir, info.Mode(), public)
}

// listFiles returns the names of the files in dir, without the folders and the
// temporary files that a crash can leave; a folder that is missing has none.
func listFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list key files: %w", err)
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// keyPath is where the private half of a signing key lies.
func keyPath(dir, kid string) string {
	return filepath.Join(dir, signingDir, kid+keySuffix)
}
