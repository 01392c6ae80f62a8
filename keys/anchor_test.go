package keys_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/keys"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// Wherever in the folder an anchor's private half lies, and under whatever
// name, it is noticed; what only looks a little like one is not.
func TestAnchorPrivatesPresent(t *testing.T) {
	dir, created := newFolder(t)
	r := open(t, dir)
	primary, standby := read(t, created.MoveOffline[0]), read(t, created.MoveOffline[1])
	plain, _ := privateHalf(t, dir, filepath.Join("anchors", "standby.pem.age"))
	other := read(t, private(dir, created.Current))
	if err := os.RemoveAll(filepath.Join(dir, "anchors")); err != nil {
		t.Fatal(err)
	}
	rotate(t, r, made) // with which a key is destroyed
	want := []string{}
	for _, f := range []struct {
		path    string
		content []byte
		found   bool
	}{
		{"anchors/.primary.pem.age.1.tmp", primary, true},
		{"anchors/old/primary.pem.age", primary, true},
		{"anchors/note.txt", []byte("moved to the safe"), true},
		{".x", primary, true},
		{"copy/a/b", standby, true},
		{"plain.pem", plain, true},
		{"signing/" + created.Next + ".pem.age.bak", primary, true},
		{"anchor.pem", []byte("-----BEGIN AGE ENCRYPTED FILE-----\n"), true},
		{"standby.age", []byte("age-encryption.org/v1\n-> scrypt a 15\n"), true},
		{"copy/signing.pem.age", other, false},
		{"copy/standby.txt", []byte("in the safe"), false},
		{"copy/anchors.json", read(t, filepath.Join(dir, "anchors.json")), false},
		{"backup.age", []byte("age-encryption.org/v1\n-> scrypt a 15\n"), false},
	} {
		path := filepath.Join(dir, f.path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, path, f.content)
		if f.found {
			want = append(want, path)
		}
	}
	slices.Sort(want)
	got := r.AnchorPrivatesPresent()
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// An anchor signs nothing but key sets, so none of them may be listed, neither
// by the one that signs nor by another.
func TestAnchorIsNoSigningKey(t *testing.T) {
	dir, created := newFolder(t)
	r := open(t, dir)
	for rank, name := range []string{"primary", "standby"} {
		public := created.Anchors[rank]
		listed := token.Key{ID: token.Thumbprint(public), Public: public, NotBefore: made, NotAfter: made.Add(day)}
		set := r.KeySet()
		set.Seq++
		set.Keys = append(set.Keys, listed)
		unsigned, err := set.MarshalUnsigned()
		if err != nil {
			t.Fatal(err)
		}
		raw, err := anchor(t, dir, "primary").SignKeySet(unsigned, made)
		wantReason(t, err, license.BadRequest, listed.ID, "anchor")
		if raw != "" {
			t.Errorf("a set that lists the %s was signed", name)
		}
	}

	// An anchor that is opened far from the folder is told of the others.
	alone := filepath.Join(t.TempDir(), "a", "primary.pem.age")
	if err := os.MkdirAll(filepath.Dir(alone), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, alone, read(t, created.MoveOffline[0]))
	a, err := keys.OpenAnchor(alone, keys.AnchorOptions{Identity: created.CopyOffline, Anchors: created.Anchors})
	if err != nil {
		t.Fatal(err)
	}
	standby := created.Anchors[1]
	withStandby := func(set *token.KeySet) {
		set.Keys = append(set.Keys, token.Key{ID: token.Thumbprint(standby), Public: standby, NotBefore: made, NotAfter: made.Add(day)})
	}
	set := r.KeySet()
	set.Seq++
	withStandby(&set)
	unsigned, err := set.MarshalUnsigned()
	if err != nil {
		t.Fatal(err)
	}
	_, err = a.SignKeySet(unsigned, made)
	wantReason(t, err, license.BadRequest, "anchor")

	// And a set that was signed all the same is not installed.
	err = r.Install(change(t, r, "primary", withStandby), made)
	wantReason(t, err, license.BadRequest, token.Thumbprint(standby), "anchor")
	if r.KeySet().Seq != 1 {
		t.Error("it came into force")
	}
	mustWork(t, r, made)
}

func TestOpenAnchorBesideDamagedList(t *testing.T) {
	dir, created := newFolder(t)
	write(t, filepath.Join(dir, "anchors.json"), []byte("{"))
	_, err := keys.OpenAnchor(created.MoveOffline[0], keys.AnchorOptions{})
	wantReason(t, err, license.Damaged, "anchors.json")
}
