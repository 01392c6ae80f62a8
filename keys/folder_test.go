package keys_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/keys"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

func TestFirstStart(t *testing.T) {
	dir, created := newFolder(t)
	r := open(t, dir)
	mustWork(t, r, made)

	set := r.KeySet()
	if set.Issuer != issuer || set.Seq != 1 || set.Rank != 0 || !set.IssuedAt.Equal(made) || !set.ExpiresAt.Equal(made.Add(400*day)) {
		t.Errorf("key set %+v", set)
	}
	if diff := cmp.Diff([]string{"current", "next"}, roles(r)); diff != "" {
		t.Errorf("roles: -want +got:\n%s", diff)
	}
	if got := []string{created.Current, created.Next}; !slices.Equal(got, []string{set.Keys[0].ID, set.Keys[1].ID}) {
		t.Errorf("created says %v", got)
	}
	for _, k := range set.Keys {
		if !k.NotBefore.Equal(made.Add(-10*time.Minute)) || k.NotAfter.Before(set.ExpiresAt) {
			t.Errorf("key %s is valid from %s to %s", k.ID, k.NotBefore, k.NotAfter)
		}
	}
	anchors, err := token.ParseAnchors(read(t, filepath.Join(dir, "anchors.json")))
	if err != nil {
		t.Fatal(err)
	}
	if len(anchors) != 2 || !cmp.Equal(anchors, r.Anchors()) || !cmp.Equal(anchors, created.Anchors) {
		t.Errorf("anchors %v, ring has %v, created says %v", anchors, r.Anchors(), created.Anchors)
	}
	if !slices.Equal(created.MoveOffline, r.AnchorPrivatesPresent()) || len(created.MoveOffline) != 2 {
		t.Errorf("to be moved offline: %v, present: %v", created.MoveOffline, r.AnchorPrivatesPresent())
	}
	for i, name := range []string{"primary", "standby"} {
		if got := anchor(t, dir, name).ID(); got != token.Thumbprint(anchors[i]) {
			t.Errorf("%s is %s, anchor %d is %s", name, got, i, token.Thumbprint(anchors[i]))
		}
	}
	if !fileExists(t, created.CopyOffline) || created.Sealed {
		t.Errorf("identity %s, sealed %v", created.CopyOffline, created.Sealed)
	}
	entries, err := os.ReadDir(filepath.Dir(dir))
	if err != nil || len(entries) != 1 {
		t.Errorf("beside the folder: %v, %v", entries, err)
	}
}

func TestModes(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no permissions in this sense on Windows")
	}
	dir, _ := newFolder(t)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o600)
		switch name := filepath.Base(path); {
		case d.IsDir():
			want = 0o700
		case name == "anchors.json", name == "keyset.jwt":
			want = 0o644
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %o, want %o", path, info.Mode().Perm(), want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefusesWhatOthersCanTouch(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no permissions in this sense on Windows")
	}
	dir, created := newFolder(t)
	for name, mode := range map[string]fs.FileMode{
		"": 0o770, "identity": 0o640, "data.key.age": 0o604, "anchors.json": 0o666, "keyset.jwt": 0o664, "state.json": 0o602,
		filepath.Join("signing", created.Current+".pem.age"): 0o644,
		filepath.Join("signing", created.Next+".pem.age"):    0o620,
	} {
		path := filepath.Join(dir, name)
		before, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err = keys.Open(dir, options())
		wantReason(t, err, license.Forbidden, path, "chmod g")
		if err := os.Chmod(path, before.Mode()); err != nil {
			t.Fatal(err)
		}
	}
	open(t, dir)
}

func TestInitNeverOverwrites(t *testing.T) {
	dir, _ := newFolder(t)
	before := copyFolder(t, dir)
	_, err := keys.Init(dir, options())
	wantReason(t, err, license.Conflict, dir)
	for _, name := range []string{"identity", "keyset.jwt", "data.key.age"} {
		if !bytes.Equal(read(t, filepath.Join(dir, name)), read(t, filepath.Join(before, name))) {
			t.Errorf("%s has changed", name)
		}
	}

	foreign := t.TempDir()
	write(t, filepath.Join(foreign, "letter.txt"), []byte("dear"))
	_, err = keys.Init(foreign, options())
	wantReason(t, err, license.Conflict, foreign)
	_, err = keys.Init(filepath.Join(foreign, "letter.txt"), options())
	if err == nil {
		t.Error("a file was taken for a folder")
	}

	empty := t.TempDir()
	if _, err := keys.Init(empty, options()); err != nil {
		t.Errorf("an empty folder: %v", err)
	}
	mustWork(t, open(t, empty), made)
}

func TestInitNeedsAnIssuer(t *testing.T) {
	for _, bad := range []string{"", "two words", "line\nbreak"} {
		_, err := keys.Init(filepath.Join(t.TempDir(), "keys"), keys.Options{Issuer: bad})
		wantReason(t, err, license.BadRequest, "issuer")
	}
}

func TestInitUsesTheClock(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b", "keys")
	before := time.Now().Truncate(time.Second)
	created, err := keys.Init(dir, keys.Options{Issuer: issuer})
	if err != nil {
		t.Fatal(err)
	}
	if at := created.KeySet.IssuedAt; at.Before(before) || at.After(time.Now()) {
		t.Errorf("made at %s", at)
	}
}

func TestInitCrash(t *testing.T) {
	for n := 0; ; n++ {
		dir := filepath.Join(t.TempDir(), "data", "keys")
		stopped := crashed(func() {
			if _, err := keys.InitWith(crashAt(n), dir, options()); err != nil {
				t.Errorf("step %d: %v", n, err)
			}
		})
		r, err := keys.Open(dir, options())
		switch {
		case err == nil:
			mustWork(t, r, made)
		case !errors.Is(err, license.NotFound):
			t.Errorf("step %d: %v", n, err)
		}
		if !stopped {
			if n < 10 || err != nil {
				t.Errorf("%d steps were seen, in the end %v", n, err)
			}
			return
		}
	}
}

func TestInitFailure(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	if _, err := keys.InitWith(failAt(7, true), dir, options()); !errors.Is(err, errCrash) {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(filepath.Dir(dir)); err != nil || len(entries) != 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
	// What a process that was killed has left is removed by the next Init.
	if !crashed(func() { _, _ = keys.InitWith(crashAt(8), dir, options()) }) {
		t.Fatal("no crash")
	}
	if _, err := keys.Init(dir, options()); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(filepath.Dir(dir)); err != nil || len(entries) != 1 {
		t.Errorf("left: %v, %v", entries, err)
	}
}

func TestOpenNothing(t *testing.T) {
	for _, dir := range []string{t.TempDir(), filepath.Join(t.TempDir(), "missing")} {
		_, err := keys.Open(dir, options())
		wantReason(t, err, license.NotFound, dir)
	}
}

func TestOpenForAnotherIssuer(t *testing.T) {
	dir, _ := newFolder(t)
	_, err := keys.Open(dir, keys.Options{Issuer: "https://other.example.com"})
	wantReason(t, err, license.Conflict, issuer, "https://other.example.com")
	if _, err := keys.Open(dir, keys.Options{}); err != nil {
		t.Errorf("any issuer: %v", err)
	}
}

func TestOpenUnderGivenAnchors(t *testing.T) {
	dir, created := newFolder(t)
	o := options()
	more := foreignKey(t).Public
	// The anchor in force keeps its mark although its place changes.
	o.Anchors = append(token.Anchors{more}, created.Anchors...)
	r, err := keys.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	if r.KeySet().Rank != 1 || r.Health(made).Standbys != 1 {
		t.Errorf("rank %d, standbys %d", r.KeySet().Rank, r.Health(made).Standbys)
	}
	o.Anchors = token.Anchors{more}
	_, err = keys.Open(dir, o)
	wantReason(t, err, license.Damaged, "keyset.jwt")
}

func TestPassphrase(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	o := options()
	o.Passphrase = passphrase(t, "correct horse\n")
	created, err := keys.Init(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	sealed := filepath.Join(dir, "identity.age")
	if created.CopyOffline != sealed || !created.Sealed || fileExists(t, filepath.Join(dir, "identity")) {
		t.Errorf("created %+v", created)
	}
	if !bytes.Contains(read(t, sealed), []byte(" 15\n")) {
		t.Error("the work factor is not 15")
	}
	r, err := keys.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	mustWork(t, r, made)

	_, err = keys.Open(dir, options())
	wantReason(t, err, license.Unauthorized, sealed, "none is given")
	o.Passphrase = passphrase(t, "correct house")
	_, err = keys.Open(dir, o)
	wantReason(t, err, license.Unauthorized, sealed, "does not open")

	if _, err := keys.OpenAnchor(created.MoveOffline[0], keys.AnchorOptions{Passphrase: passphrase(t, "correct horse")}); err != nil {
		t.Errorf("anchor: %v", err)
	}
	_, err = keys.OpenAnchor(created.MoveOffline[0], keys.AnchorOptions{})
	wantReason(t, err, license.Unauthorized, sealed)

	// Both forms side by side are one too many.
	plainDir, _ := newFolder(t)
	write(t, filepath.Join(dir, "identity"), read(t, filepath.Join(plainDir, "identity")))
	_, err = keys.Open(dir, o)
	wantReason(t, err, license.Conflict, "identity.age")
	_, err = keys.Open(plainDir, o)
	wantReason(t, err, license.Conflict, "not sealed")
}

func TestParsePassphrase(t *testing.T) {
	for _, bad := range []string{"", "\n", "\r\n", "two\nlines\n", "a\x00b", string(bytes.Repeat([]byte("x"), 1025))} {
		if _, err := keys.ParsePassphrase([]byte(bad)); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
	for _, good := range []string{"x", "x\r\n", " x y ", "Grüße\n"} {
		if p, err := keys.ParsePassphrase([]byte(good)); err != nil || p.IsZero() {
			t.Errorf("%q: %v", good, err)
		}
	}
}

func TestDamagedFiles(t *testing.T) {
	dir, created := newFolder(t)
	other, otherCreated := newFolder(t)
	signing := filepath.Join("signing", created.Current+".pem.age")
	next := filepath.Join("signing", created.Next+".pem.age")
	theirs := read(t, private(other, otherCreated.Current))
	files := []string{"identity", "data.key.age", "anchors.json", "keyset.jwt", "state.json", signing, next}
	for _, name := range files {
		content := read(t, filepath.Join(dir, name))
		forms := map[string][]byte{
			"empty": {}, "half": content[:len(content)/2], "garbage": []byte("garbage"), "huge": make([]byte, 2<<20),
			"flipped": flip(content),
		}
		if filepath.Ext(name) == ".age" {
			forms["sealed to another"] = theirs
			forms["another key"] = read(t, filepath.Join(dir, otherOf(name, signing, next)))
		}
		for form, b := range forms {
			broken := copyFolder(t, dir)
			write(t, filepath.Join(broken, name), b)
			_, err := keys.Open(broken, options())
			// A whole file of the wrong kind may have another reason than Damaged, but is named.
			wantReason(t, err, license.Damaged, filepath.Join(broken, name))
			if err == nil {
				t.Errorf("%s, %s", name, form)
			}
		}
		if name == next {
			continue
		}
		broken := copyFolder(t, dir)
		if err := os.Remove(filepath.Join(broken, name)); err != nil {
			t.Fatal(err)
		}
		_, err := keys.Open(broken, options())
		wantReason(t, err, license.Damaged, filepath.Join(broken, name), "missing")
	}
}

// flip changes one bit in the middle of the second half.
func flip(b []byte) []byte {
	b = slices.Clone(b)
	b[len(b)*3/4] ^= 4
	return b
}

func otherOf(name, a, b string) string {
	if name == a {
		return b
	}
	return a
}

func TestMissingNextKey(t *testing.T) {
	dir, created := newFolder(t)
	if err := os.Remove(private(dir, created.Next)); err != nil {
		t.Fatal(err)
	}
	r := open(t, dir)
	mustWork(t, r, made)
	if h := r.Health(made); h.Next != "" {
		t.Errorf("next key %s", h.Next)
	}
	_, err := r.Rotate(made)
	wantReason(t, err, license.Conflict, "no next key")
}

func TestStateOfOtherPrograms(t *testing.T) {
	dir, created := newFolder(t)
	path := filepath.Join(dir, "state.json")
	content := string(read(t, path))
	for what, edit := range map[string][2]string{
		"version":     {`"version": 1`, `"version": 2`},
		"path as kid": {`"current": "` + created.Current, `"current": "../../` + created.Current[6:]},
		"seq":         {`"seq": 1`, `"seq": 0`},
		"unlisted":    {`"current": "` + created.Current, `"current": "` + foreignKey(t).ID},
	} {
		changed := bytes.Replace([]byte(content), []byte(edit[0]), []byte(edit[1]), 1)
		if string(changed) == content {
			t.Fatalf("%s: nothing to change", what)
		}
		write(t, path, changed)
		_, err := keys.Open(dir, options())
		wantReason(t, err, license.Damaged, path)
	}
}

func TestAnchorsMovedAway(t *testing.T) {
	dir, created := newFolder(t)
	r := open(t, dir)
	stick := t.TempDir()
	for _, path := range append(created.MoveOffline, created.CopyOffline) {
		write(t, filepath.Join(stick, filepath.Base(path)), read(t, path))
	}
	if err := os.RemoveAll(filepath.Join(dir, "anchors")); err != nil {
		t.Fatal(err)
	}
	if got := r.AnchorPrivatesPresent(); len(got) != 0 {
		t.Errorf("present: %v", got)
	}
	r = open(t, dir)
	mustWork(t, r, made)
	a, err := keys.OpenAnchor(filepath.Join(stick, "primary.pem.age"), keys.AnchorOptions{})
	if err != nil {
		t.Fatal(err)
	}
	unsigned, err := r.ProposeKeySet(made.Add(day))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := a.SignKeySet(unsigned, made.Add(day))
	if err != nil {
		t.Fatal(err)
	}
	install(t, r, raw, made.Add(day))
}

func TestOpenAnchorForms(t *testing.T) {
	dir, _ := newFolder(t)
	want := anchor(t, dir, "primary").ID()
	sealed := filepath.Join(dir, "anchors", "primary.pem.age")
	identity := filepath.Join(dir, "identity")
	text, _ := privateHalf(t, dir, filepath.Join("anchors", "primary.pem.age"))
	elsewhere := t.TempDir()
	plain := filepath.Join(elsewhere, "plain.pem")
	write(t, plain, append([]byte("comment\n-----BEGIN OTHER-----\nAAAA\n-----END OTHER-----\n"), text...))
	locked := filepath.Join(elsewhere, "locked.age")
	write(t, locked, sealWith(t, text, "hunter2"))
	moved := filepath.Join(elsewhere, "moved.age")
	write(t, moved, read(t, sealed))
	if err := os.Chmod(moved, 0o644); err != nil { // as on a medium without permissions
		t.Fatal(err)
	}

	for name, c := range map[string]struct {
		path string
		o    keys.AnchorOptions
	}{
		"as made":    {sealed, keys.AnchorOptions{}},
		"plain":      {plain, keys.AnchorOptions{}},
		"passphrase": {locked, keys.AnchorOptions{Passphrase: passphrase(t, "hunter2")}},
		"identity":   {moved, keys.AnchorOptions{Identity: identity}},
	} {
		a, err := keys.OpenAnchor(c.path, c.o)
		if err != nil || a.ID() != want || token.Thumbprint(a.Public()) != want {
			t.Errorf("%s: %v", name, err)
		}
	}

	_, err := keys.OpenAnchor(locked, keys.AnchorOptions{Passphrase: passphrase(t, "hunter3")})
	wantReason(t, err, license.Unauthorized, locked)
	_, err = keys.OpenAnchor(locked, keys.AnchorOptions{})
	wantReason(t, err, license.Unauthorized, locked)
	_, err = keys.OpenAnchor(moved, keys.AnchorOptions{})
	wantReason(t, err, license.Damaged, "identity is missing")
	_, err = keys.OpenAnchor(filepath.Join(dir, "none"), keys.AnchorOptions{})
	wantReason(t, err, license.NotFound)
	_, err = keys.OpenAnchor(filepath.Join(dir, "anchors.json"), keys.AnchorOptions{})
	if err == nil {
		t.Error("a list of public halves was taken for an anchor")
	}
	if runtime.GOOS != "windows" {
		if err := os.Chmod(plain, 0o644); err != nil {
			t.Fatal(err)
		}
		_, err = keys.OpenAnchor(plain, keys.AnchorOptions{})
		wantReason(t, err, license.Forbidden, plain)
	}
}

// privateHalf opens a sealed file of a folder with age and the standard library
// alone, as somebody without this program would.
func privateHalf(tb testing.TB, dir, name string) ([]byte, token.SigningKey) {
	tb.Helper()
	ids, err := age.ParseIdentities(bytes.NewReader(read(tb, filepath.Join(dir, "identity"))))
	if err != nil {
		tb.Fatal(err)
	}
	r, err := age.Decrypt(bytes.NewReader(read(tb, filepath.Join(dir, name))), ids...)
	if err != nil {
		tb.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		tb.Fatal(err)
	}
	block, _ := pem.Decode(text)
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		tb.Fatal(err)
	}
	key, err := token.NewSigningKey(k.(crypto.Signer))
	if err != nil {
		tb.Fatal(err)
	}
	return text, key
}

func sealWith(tb testing.TB, text []byte, secret string) []byte {
	tb.Helper()
	r, err := age.NewScryptRecipient(secret)
	if err != nil {
		tb.Fatal(err)
	}
	r.SetWorkFactor(10)
	var out bytes.Buffer
	w, err := age.Encrypt(&out, r)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := fmt.Fprintf(w, "%s", text); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}
