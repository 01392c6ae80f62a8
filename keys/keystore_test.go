package keys_test

import (
	"crypto"
	"crypto/ed25519"
	"errors"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/keys"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// device is a keystore that can be made to fail.
type device struct {
	mu    sync.Mutex
	keys  map[string]ed25519.PrivateKey
	fail  error
	wrong bool // what it signs is damaged
}

func newDevice() *device { return &device{keys: map[string]ed25519.PrivateKey{}} }

func (d *device) set(fail error, wrong bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail, d.wrong = fail, wrong
}

func (d *device) List() ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.keys)), d.fail
}

func (d *device) Generate() (ed25519.PublicKey, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fail != nil {
		return nil, d.fail
	}
	public, private, err := ed25519.GenerateKey(nil)
	d.keys[token.Thumbprint(public)] = private
	return public, err
}

func (d *device) Signer(kid string) (crypto.Signer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	k, ok := d.keys[kid]
	if !ok {
		return nil, license.Errorf(license.NotFound, "there is no key %s", kid)
	}
	return deviceKey{d, k}, d.fail
}

func (d *device) Destroy(kid string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fail == nil {
		delete(d.keys, kid)
	}
	return d.fail
}

func (d *device) Where(kid string) string { return "device, object " + kid }

type deviceKey struct {
	d *device
	k ed25519.PrivateKey
}

func (k deviceKey) Public() crypto.PublicKey { return k.k.Public() }

func (k deviceKey) Sign(random io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	k.d.mu.Lock()
	defer k.d.mu.Unlock()
	if k.d.fail != nil {
		return nil, k.d.fail
	}
	sig, err := k.k.Sign(random, message, opts)
	if k.d.wrong {
		sig[3] ^= 1
	}
	return sig, err
}

func deviceOptions(d *device) keys.Options {
	o := options()
	o.Keystore = d
	return o
}

// A folder whose signing keys are in a keystore lives as any other: made there,
// rotated, revoked, destroyed there, and no private half is ever a file.
func TestKeystore(t *testing.T) {
	t.Parallel()
	d := newDevice()
	dir := filepath.Join(t.TempDir(), "keys")
	created, err := keys.Init(dir, deviceOptions(d))
	if err != nil {
		t.Fatal(err)
	}
	r, err := keys.Open(dir, deviceOptions(d))
	if err != nil {
		t.Fatal(err)
	}
	mustWork(t, r, made)
	rotate(t, r, made.Add(day))
	mustWork(t, r, made.Add(day))
	if _, ok := d.keys[created.Current]; ok {
		t.Error("the retired key is in the keystore still")
	}
	install(t, r, nextSet(t, r, "primary", made.Add(2*day), created.Next), made.Add(2*day))
	mustWork(t, r, made.Add(2*day))
	if _, ok := d.keys[created.Next]; ok || len(d.keys) != 2 {
		t.Errorf("after a revocation: %d keys, the revoked one among them: %t", len(d.keys), ok)
	}
	if files, err := filepath.Glob(filepath.Join(dir, "signing", "*")); err != nil || len(files) > 0 {
		t.Errorf("private halves are files: %v, %v", files, err)
	}
	if again, err := keys.Open(dir, deviceOptions(d)); err != nil {
		t.Error(err)
	} else {
		mustWork(t, again, made.Add(3*day))
	}
	_, err = keys.Open(dir, options())
	wantReason(t, err, license.Damaged, "is missing")
}

// A folder moves to a keystore by rotating: files are used until they are retired.
func TestMoveToKeystore(t *testing.T) {
	t.Parallel()
	dir, created := newFolder(t)
	d := newDevice()
	r, err := keys.Open(dir, deviceOptions(d))
	if err != nil {
		t.Fatal(err)
	}
	rotate(t, r, made.Add(day))
	if fileExists(t, private(dir, created.Current)) {
		t.Error("the retired key's file is there still")
	}
	install(t, r, nextSet(t, r, "primary", made.Add(day)), made.Add(day))
	rotate(t, r, made.Add(2*day))
	mustWork(t, r, made.Add(2*day))
	if fileExists(t, private(dir, created.Next)) || len(d.keys) != 1 {
		t.Errorf("not moved: %d keys in the keystore", len(d.keys))
	}
}

// While the keystore fails nothing is signed, and the failure shows; when it is
// back, so is everything.
func TestKeystoreFails(t *testing.T) {
	t.Parallel()
	errGone := errors.New("the device does not answer")
	d := newDevice()
	dir := filepath.Join(t.TempDir(), "keys")
	if _, err := keys.Init(dir, deviceOptions(d)); err != nil {
		t.Fatal(err)
	}
	r, err := keys.Open(dir, deviceOptions(d))
	if err != nil {
		t.Fatal(err)
	}
	signs := func() error {
		key, set := r.Current()
		_, err := token.SignTime(token.Time{Issuer: set.Issuer, IssuedAt: made, InstallID: key.ID, Nonce: "n"}, key)
		return err
	}
	for name, fault := range map[string]struct {
		err   error
		wrong bool
	}{"gone": {err: errGone}, "wrong": {wrong: true}} {
		d.set(fault.err, fault.wrong)
		if signs() == nil {
			t.Errorf("%s: it signs", name)
		}
		if r.Signs() == nil || r.Health(made).Fault == "" {
			t.Errorf("%s: the failure does not show", name)
		}
		d.set(nil, false)
		if err := r.Signs(); err != nil || r.Health(made).Fault != "" {
			t.Errorf("%s: it is back and does not show so: %v", name, err)
		}
	}
	before := r.List()
	d.set(errGone, false)
	if _, err := r.Rotate(made.Add(day)); !errors.Is(err, errGone) {
		t.Errorf("rotate: %v", err)
	}
	if _, err := r.ProposeKeySet(made.Add(day), before[1].KID); !errors.Is(err, errGone) {
		t.Errorf("propose: %v", err)
	}
	d.set(nil, false)
	if _, err := r.Reload(); err != nil {
		t.Fatal(err)
	}
	mustWork(t, r, made.Add(day))
}

// What cannot be destroyed is named, and destroyed when that can be done.
func TestKeystoreCannotDestroy(t *testing.T) {
	t.Parallel()
	d := &sticky{device: newDevice()}
	o := options()
	o.Keystore = d
	dir := filepath.Join(t.TempDir(), "keys")
	created, err := keys.Init(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	r, err := keys.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	d.stuck = true
	if got := rotate(t, r, made.Add(day)).Leftover; !slices.Equal(got, []string{"device, object " + created.Current}) {
		t.Errorf("leftover %v", got)
	}
	mustWork(t, r, made.Add(day))
	d.stuck = false
	if r, err = keys.Open(dir, o); err != nil {
		t.Fatal(err)
	}
	if got := r.Health(made).Leftover; len(got) > 0 || len(d.keys) != 1 {
		t.Errorf("leftover %v, %d keys", got, len(d.keys))
	}
}

type sticky struct {
	*device
	stuck bool
}

func (s *sticky) Destroy(kid string) error {
	if s.stuck {
		return errors.New("not allowed")
	}
	return s.device.Destroy(kid)
}

// A set can list several keys to rotate to, and so many rotations need no anchor.
func TestAhead(t *testing.T) {
	t.Parallel()
	dir, _ := newFolder(t)
	o := options()
	o.Ahead = 3
	r, err := keys.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	install(t, r, nextSet(t, r, "primary", made.Add(day)), made.Add(day))
	if h := r.Health(made.Add(day)); h.Ahead != 3 {
		t.Fatalf("%d ahead", h.Ahead)
	}
	want := r.List()
	for n := range 3 {
		got := rotate(t, r, made.Add(time.Duration(2+n)*day))
		if got.To != want[n+1].KID {
			t.Errorf("rotation %d moves to %s, not to the oldest, %s", n, got.To, want[n+1].KID)
		}
		mustWork(t, r, made.Add(time.Duration(2+n)*day))
	}
	if h := r.Health(made.Add(5 * day)); h.Ahead != 0 || h.Next != "" {
		t.Errorf("%d ahead", h.Ahead)
	}
}

// A key that was made for a set which is not installed yet may be stolen as well.
func TestRevokePending(t *testing.T) {
	t.Parallel()
	r := newRing(t)
	rotate(t, r, made.Add(day))
	if _, err := r.ProposeKeySet(made.Add(day)); err != nil {
		t.Fatal(err)
	}
	list := r.List()
	stolen := list[len(list)-1]
	if stolen.Role != keys.RolePending {
		t.Fatalf("%+v", list)
	}
	install(t, r, nextSet(t, r, "primary", made.Add(2*day), stolen.KID), made.Add(2*day))
	if _, listed := r.KeySet().Key(stolen.KID); listed || fileExists(t, private(r.Dir(), stolen.KID)) {
		t.Error("the stolen key is listed, or here still")
	}
	mustWork(t, r, made.Add(2*day))
}
