package keys_test

import (
	"crypto/ed25519"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/keys"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

const (
	issuer = "https://licence.example.com"
	day    = 24 * time.Hour
)

var made = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func options() keys.Options {
	return keys.Options{Issuer: issuer, Now: func() time.Time { return made }}
}

// newFolder makes a key folder.
func newFolder(tb testing.TB) (string, keys.Created) {
	tb.Helper()
	dir := filepath.Join(tb.TempDir(), "keys")
	created, err := keys.Init(dir, options())
	if err != nil {
		tb.Fatal(err)
	}
	return dir, created
}

func newRing(tb testing.TB) *keys.Ring {
	tb.Helper()
	dir, _ := newFolder(tb)
	return open(tb, dir)
}

func open(tb testing.TB, dir string) *keys.Ring {
	tb.Helper()
	r, err := keys.Open(dir, options())
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// anchor opens the primary or the standby of a folder.
func anchor(tb testing.TB, dir, name string) *keys.Anchor {
	tb.Helper()
	a, err := keys.OpenAnchor(filepath.Join(dir, "anchors", name+".pem.age"), keys.AnchorOptions{})
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

// nextSet proposes a key set and has an anchor sign it.
func nextSet(tb testing.TB, r *keys.Ring, anchorName string, now time.Time, revoke ...string) string {
	tb.Helper()
	unsigned, err := r.ProposeKeySet(now, revoke...)
	if err != nil {
		tb.Fatal(err)
	}
	raw, err := anchor(tb, r.Dir(), anchorName).SignKeySet(unsigned, now)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// change signs what edit makes of the next key set.
func change(tb testing.TB, r *keys.Ring, anchorName string, edit func(*token.KeySet)) string {
	tb.Helper()
	set := r.KeySet()
	set.Seq++
	edit(&set)
	_, key := privateHalf(tb, r.Dir(), filepath.Join("anchors", anchorName+".pem.age"))
	raw, err := token.SignKeySet(set, key)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

func install(tb testing.TB, r *keys.Ring, raw string, now time.Time) {
	tb.Helper()
	if err := r.Install(raw, now); err != nil {
		tb.Fatal(err)
	}
}

func rotate(tb testing.TB, r *keys.Ring, now time.Time) keys.Rotation {
	tb.Helper()
	rotation, err := r.Rotate(now)
	if err != nil {
		tb.Fatal(err)
	}
	return rotation
}

// sign signs something at an instant, under the key that is current.
func sign(tb testing.TB, r *keys.Ring, at time.Time) string {
	tb.Helper()
	key, set := r.Current()
	raw, err := token.SignTime(token.Time{Issuer: set.Issuer, IssuedAt: at, InstallID: key.ID, Nonce: "nonce"}, key)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

func verify(raw string, set token.KeySet) error {
	_, err := token.VerifyTime(raw, set, "", "nonce")
	return err
}

// mustWork checks what holds for every ring at any time: it signs with a key
// that its key set lists, under anchors that vouch for it.
func mustWork(tb testing.TB, r *keys.Ring, at time.Time) {
	tb.Helper()
	set, err := token.VerifyKeySet(r.KeySet().Raw, r.Anchors())
	if err != nil {
		tb.Fatal(err)
	}
	if err := verify(sign(tb, r, at), set); err != nil {
		tb.Errorf("what the ring signs does not verify: %v", err)
	}
}

func private(dir, kid string) string { return filepath.Join(dir, "signing", kid+".pem.age") }

func roles(r *keys.Ring) (kids []string) {
	for _, k := range r.List() {
		kids = append(kids, string(k.Role))
	}
	return kids
}

func fileExists(tb testing.TB, path string) bool {
	tb.Helper()
	_, err := os.Stat(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		tb.Fatal(err)
	}
	return err == nil
}

func wantReason(tb testing.TB, err error, want license.Reason, mentions ...string) {
	tb.Helper()
	if license.ReasonOf(err) != want {
		tb.Errorf("error %v, want reason %q", err, want)
		return
	}
	for _, m := range mentions {
		if !strings.Contains(err.Error(), m) {
			tb.Errorf("error %q does not mention %q", err, m)
		}
	}
}

func passphrase(tb testing.TB, s string) keys.Passphrase {
	tb.Helper()
	p, err := keys.ParsePassphrase([]byte(s))
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// copyFolder copies a key folder, permissions included.
func copyFolder(tb testing.TB, from string) string {
	tb.Helper()
	to := filepath.Join(tb.TempDir(), "keys")
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(from, path)
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), read(tb, path), info.Mode())
	})
	if err != nil {
		tb.Fatal(err)
	}
	return to
}

func read(tb testing.TB, path string) []byte {
	tb.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func write(tb testing.TB, path string, b []byte) {
	tb.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		tb.Fatal(err)
	}
}

var errCrash = errors.New("crash")

// crashAt stops everything before the n-th step (from 0) that changes a file. It
// stops by panic, since a process that is killed tidies up nothing.
func crashAt(n int) keys.Hook {
	return func(_, _ string, do func() error) error {
		if n--; n == -1 {
			panic(errCrash)
		}
		return do()
	}
}

// crashed runs f and reports whether a crash stopped it.
func crashed(f func()) (yes bool) {
	defer func() {
		if p := recover(); p != nil {
			if err, ok := p.(error); !ok || !errors.Is(err, errCrash) {
				panic(p)
			}
			yes = true
		}
	}()
	f()
	return false
}

// failAt makes the n-th step fail, having done it or not.
func failAt(n int, after bool) keys.Hook {
	return func(_, _ string, do func() error) error {
		if n--; n != -1 {
			return do()
		}
		if after {
			return errors.Join(do(), errCrash)
		}
		return errCrash
	}
}

func without(set *token.KeySet, kids ...string) {
	set.Keys = slices.DeleteFunc(set.Keys, func(k token.Key) bool { return slices.Contains(kids, k.ID) })
}

func foreignKey(tb testing.TB) token.Key {
	tb.Helper()
	pub, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		tb.Fatal(err)
	}
	return token.Key{ID: token.Thumbprint(pub), Public: pub, NotBefore: made, NotAfter: made.Add(day)}
}
