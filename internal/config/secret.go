package config

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
)

// maxSecret is the size limit of secret files.
const maxSecret = 64 << 10

const redacted = "[redacted]"

// Secret is a text that does not print. Its zero value is empty.
type Secret struct {
	text *string // a pointer, because fmt prints the fields of what surrounds it without asking it
}

// NewSecret makes a secret of text.
func NewSecret(text string) Secret { return Secret{&text} }

// Reveal returns the text itself. What it is given to must not print it.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// String, GoString, LogValue and MarshalText do not show the text.
func (Secret) String() string { return redacted }

// GoString does not show the text.
func (Secret) GoString() string { return redacted }

// LogValue does not show the text.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText does not show the text.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// ReadSecret reads a secret from a file, without the file's final newline. A
// file that the group or others may access is refused, unless systemd made it
// for this service (LoadCredential), and so is an empty one, one of more than 64 KiB, and one that is sealed by age, whose sealed form
// would be taken for the secret. No error holds anything of the content.
func ReadSecret(path string) (Secret, error) {
	// Asked first, because opening a named pipe would wait for a writer.
	if info, err := os.Stat(path); err != nil {
		return Secret{}, err
	} else if !info.Mode().IsRegular() {
		return Secret{}, fmt.Errorf("%s is no regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return Secret{}, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	info, err := f.Stat()
	if err != nil {
		return Secret{}, err
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 && runtime.GOOS != "windows" && !credential(path, perm) {
		return Secret{}, fmt.Errorf("%s has mode %04o, so that others than its owner may access the secret in it; run: chmod 600 %s", path, perm, path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return Secret{}, err
	}
	if len(data) > maxSecret {
		return Secret{}, fmt.Errorf("%s is larger than %d KiB, which is no secret of ours", path, maxSecret>>10)
	}
	if isSealed(data) {
		return Secret{}, fmt.Errorf("%s is sealed by age, and sealed secret files are not supported yet; put the clear text into a file with mode 0600", path)
	}
	if cut, ok := bytes.CutSuffix(data, []byte("\n")); ok {
		data = bytes.TrimSuffix(cut, []byte("\r"))
	}
	if len(data) == 0 {
		return Secret{}, fmt.Errorf("%s is empty", path)
	}
	return NewSecret(string(data)), nil
}

// credential reports whether a file is a credential of the service, as systemd
// passes with LoadCredential: it lies in the folder that only the service can
// enter, and is read by an access control list, whose mask stands where the
// mode has the group.
func credential(path string, perm fs.FileMode) bool {
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" || filepath.Dir(path) != filepath.Clean(dir) || perm&^0o440 != 0 {
		return false
	}
	info, err := os.Stat(dir) //nolint:gosec // systemd names it
	return err == nil && info.Mode().Perm()&0o027 == 0
}

// isSealed reports whether a file was sealed by age, in its binary form or as text.
func isSealed(data []byte) bool {
	data = bytes.TrimSpace(data)
	return bytes.HasPrefix(data, []byte("age-encryption.org/")) || bytes.HasPrefix(data, []byte("-----BEGIN AGE ENCRYPTED FILE-----"))
}
