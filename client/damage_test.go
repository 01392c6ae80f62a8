package client_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/license"
)

// worn is an install that was activated, called home five days later, and was
// closed. Its clock has been set back by four days since, as somebody does who
// wants to gain time by damage.
type worn struct {
	*site
	begin saved // where each of them begins
	path  string
	whole []byte   // its memory
	old   []byte   // its memory before it called home
	files [][]byte // the licence files that it ever held
}

var wornMade shared[worn]

func newWorn(t *testing.T) *worn {
	t.Helper()
	w := wornMade.get("", func() worn { return wearDown(t) })
	w.site = w.begin.site(t)
	w.path = filepath.Join(w.opts.StateDir, "install.json")
	return &w
}

func wearDown(t *testing.T) worn {
	t.Helper()
	w := worn{site: newSite(t)}
	read := func() []byte {
		data, err := os.ReadFile(filepath.Join(w.opts.StateDir, "install.json"))
		check(t, err)
		return data
	}
	g := w.activated()
	w.old = read()
	w.files = append(w.files, g.File())
	w.clock.add(5 * day)
	check(t, g.Refresh(t.Context()))
	w.files = append(w.files, g.File())
	check(t, g.Close())
	w.whole = read()
	w.clock.add(-4 * day)
	w.begin = w.save()
	return w
}

// open opens the install; no time passes while it runs.
func (w *worn) open() *client.Guard {
	w.tb.Helper()
	return halted(w.site.open())
}

// halted takes the running time from a guard, so that a slow test proves nothing.
func halted(g *client.Guard) *client.Guard {
	g.SetUptime(func() time.Duration { return 0 })
	return g
}

// wantAsBefore fails unless the install is as it was before any damage.
func (w *worn) wantAsBefore(g *client.Guard) {
	w.tb.Helper()
	st := g.Status()
	if !st.Usable || st.Clock != client.ClockBehind || !st.At.Equal(epoch.Add(5*day)) || !bytes.Equal(g.File(), w.files[1]) {
		w.tb.Fatalf("%s, judged at %v, %v", st, st.At, g.Warnings())
	}
}

// wantNothingGained fails if an install whose memory was lost has a licence, or
// takes one back that it had.
func (w *worn) wantNothingGained(g *client.Guard) {
	w.tb.Helper()
	for _, f := range w.files {
		if st := g.Status(); st.Usable || st.Reason != license.NoLicense || g.File() != nil {
			w.tb.Fatalf("%s %q", st, st.Reason)
		}
		wantReason(w.tb, g.Import(f), license.MachineMismatch)
	}
}

func wantDamaged(tb testing.TB, g *client.Guard) {
	tb.Helper()
	if w := g.Warnings(); len(w) != 1 || license.ReasonOf(w[0]) != license.Damaged {
		tb.Fatalf("warnings %v", w)
	}
}

// put is damage that writes another file.
func put(change func(w *worn) []byte) func(*testing.T, *worn) {
	return func(t *testing.T, w *worn) {
		t.Helper()
		check(t, os.WriteFile(w.path, change(w), 0o600))
	}
}

// damages are what can become of a state file, but for bits and lengths.
var damages = map[string]func(*testing.T, *worn){
	"empty":        put(func(*worn) []byte { return nil }),
	"one line":     put(func(*worn) []byte { return []byte("\n") }),
	"zeros":        put(func(w *worn) []byte { return make([]byte, len(w.whole)) }),
	"another file": put(func(w *worn) []byte { return w.files[0] }),
	"twice":        put(func(w *worn) []byte { return append(slices.Clone(w.whole), w.whole...) }),
	"UTF-16": put(func(w *worn) []byte {
		return append([]byte{0xff, 0xfe}, bytes.ReplaceAll(w.whole, []byte(`"`), []byte("\"\x00"))...)
	}),
	"a byte order mark": put(func(w *worn) []byte { return append([]byte("\ufeff"), w.whole...) }),
	"written anew by an editor": put(func(w *worn) []byte {
		var out bytes.Buffer
		_ = json.Indent(&out, w.whole, "", "  ")
		return out.Bytes()
	}),
	"members swapped": put(func(w *worn) []byte {
		var f struct{ Memory map[string]json.RawMessage }
		_ = json.Unmarshal(w.whole, &f)
		sorted, _ := json.Marshal(f.Memory)
		return w.withMemory(sorted)
	}),
	"a member left out": put(func(w *worn) []byte {
		var f struct{ Memory map[string]json.RawMessage }
		_ = json.Unmarshal(w.whole, &f)
		delete(f.Memory, "floor")
		rest, _ := json.Marshal(f.Memory)
		return w.withMemory(rest)
	}),
	"the number of its form": put(func(w *worn) []byte {
		return bytes.Replace(w.whole, []byte(`"format":1`), []byte(`"format":3`), 1)
	}),
	"a member twice": put(func(w *worn) []byte {
		return bytes.Replace(w.whole, []byte(`"memory":{`), []byte(`"memory":{"floor":1,`), 1)
	}),
	"half of an older one": put(func(w *worn) []byte { return append(w.old[:len(w.old)/2:len(w.old)/2], w.whole[len(w.old)/2:]...) }),
	"the check of an older one": put(func(w *worn) []byte {
		var f struct{ Memory json.RawMessage }
		_ = json.Unmarshal(w.old, &f)
		return w.withMemory(f.Memory)
	}),
	"huge": put(func(*worn) []byte { return bytes.Repeat([]byte(" "), 5<<20) }),
	"huge, and good at the beginning": put(func(w *worn) []byte {
		return append(slices.Clone(w.whole), bytes.Repeat([]byte(" "), 5<<20)...)
	}),
	"nested without end": put(func(*worn) []byte { return bytes.Repeat([]byte(`{"memory":`), 100000) }),
	"a folder": func(t *testing.T, w *worn) {
		t.Helper()
		check(t, os.Remove(w.path))
		check(t, os.Mkdir(w.path, 0o700))
		check(t, os.WriteFile(filepath.Join(w.path, "x"), w.whole, 0o600))
	},
}

// withMemory puts another memory under the check that fits the one before.
func (w *worn) withMemory(memory []byte) []byte {
	var f struct {
		Format int             `json:"format"`
		Check  []byte          `json:"check"`
		Memory json.RawMessage `json:"memory"`
	}
	check(w.tb, json.Unmarshal(w.whole, &f))
	f.Memory = memory
	data, err := json.Marshal(f)
	check(w.tb, err)
	return data
}

// Whatever has become of the file, the product starts, says so, has no licence
// and gets none by what it held before. Nothing is lost of the file.
func TestDamagedState(t *testing.T) {
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorn(t)
			damage(t, w)
			before, err := os.Lstat(w.path)
			check(t, err)
			g := w.open()
			wantDamaged(t, g)
			aside, err := os.Lstat(w.path + ".damaged")
			check(t, err)
			if !os.SameFile(before, aside) || aside.Size() != before.Size() {
				t.Error("what was set aside is not what there was")
			}
			w.wantNothingGained(g)
			check(t, g.Close())
			g = w.open()
			if warnings := g.Warnings(); len(warnings) != 0 {
				t.Errorf("reported again: %v", warnings)
			}
			w.wantNothingGained(g)
			w.clock.add(4 * day)
			check(t, g.Activate(t.Context(), code))
			wantLicensed(t, g)
			wantLicensed(t, w.open())
		})
	}
}

// TestTornState cuts the file at every length and spoils every byte of it.
func TestTornState(t *testing.T) {
	w := newWorn(t)
	opened := func(data []byte) *client.Guard {
		c := &client.MemoryCache{}
		check(t, c.Store(data))
		w.opts.Cache = c
		g, err := client.Open(t.Context(), w.opts)
		check(t, err)
		return halted(g)
	}
	for n := 1; n < len(w.whole); n++ {
		g := opened(w.whole[:n])
		if n == len(w.whole)-1 {
			w.wantAsBefore(g) // the line break at the end
		} else if wantDamaged(t, g); g.Status().Usable || g.License() != nil {
			t.Fatalf("cut at %d: %s", n, g.Status())
		}
		check(t, g.Close())
	}
	good, err := client.Decode(w.whole)
	check(t, err)
	harmless := 0
	for n := range w.whole {
		for _, bit := range []byte{1 << (n % 8), 0x20, 0xff} {
			spoiled := slices.Clone(w.whole)
			spoiled[n] ^= bit
			g := opened(spoiled)
			if m, err := client.Decode(spoiled); err == nil {
				// Other case in a name, or bits that base64 has to spare: it says the same.
				if harmless++; !reflect.DeepEqual(m, good) {
					t.Fatalf("byte %d changed to %q is another memory", n, spoiled[n])
				}
				w.wantAsBefore(g)
			} else if wantDamaged(t, g); g.Status().Usable || g.License() != nil {
				t.Fatalf("byte %d changed to %q: %s", n, spoiled[n], g.Status())
			}
			check(t, g.Close())
		}
	}
	if harmless > 30 {
		t.Errorf("%d changes were not seen", harmless)
	}
}

// What stands around the memory may be written otherwise.
func TestStateThatSaysTheSame(t *testing.T) {
	w := newWorn(t)
	var f struct {
		Format        int
		Check, Memory json.RawMessage
	}
	check(t, json.Unmarshal(w.whole, &f))
	for name, data := range map[string]string{
		"members in another order":    fmt.Sprintf(`{"memory":%s,"check":%s,"format":%d}`, f.Memory, f.Check, f.Format),
		"blanks and another line end": fmt.Sprintf("{ \"format\":\t%d,\r\n\"check\":%s, \"memory\":%s}\r\n", f.Format, f.Check, f.Memory),
		"a member of a later version": strings.Replace(string(w.whole), `{"format"`, `{"later":[],"format"`, 1),
		"without the line end":        strings.TrimSpace(string(w.whole)),
	} {
		t.Run(name, func(t *testing.T) {
			check(t, os.WriteFile(w.path, []byte(data), 0o600))
			g := w.open()
			w.wantAsBefore(g)
			check(t, g.Close())
		})
	}
}

// The file of another install is that install, and on another machine of no use.
func TestStateOfAnotherInstall(t *testing.T) {
	w, other := newWorn(t), newSite(t)
	other.machine = machineB()
	check(t, other.activated().Close())
	check(t, os.WriteFile(filepath.Join(other.opts.StateDir, "install.json"), w.whole, 0o600))
	g := other.open()
	if st := g.Status(); st.Usable || st.Reason != license.MachineMismatch {
		t.Errorf("%s", st)
	}
}

// An older memory is the licence of then, and ends no later than that did.
// Where the product runs, what it has counted counts on.
func TestOlderState(t *testing.T) {
	f := newField(t)
	g := f.activated()
	old := f.memory()
	leaseOfThen := g.Status().LeaseUntil
	f.refreshed(g)
	f.run(5 * day)
	put := func() { check(t, os.WriteFile(filepath.Join(f.opts.StateDir, "install.json"), old, 0o600)) }
	put()
	f.set(epoch.Add(time.Hour))
	f.vendor.respond = func(*http.Request) (*http.Response, error) { return nil, errors.New("the cable is out") }
	wantReason(t, g.Refresh(t.Context()), license.Unreachable)
	if st := g.Status(); !st.At.Equal(epoch.Add(6*day)) || !st.LeaseUntil.Equal(leaseOfThen) {
		t.Errorf("judged at %v, until %v", st.At, st.LeaseUntil)
	}
	put()
	g = f.open()
	if st := g.Status(); !st.LeaseUntil.Equal(leaseOfThen) || len(g.Warnings()) != 0 {
		t.Errorf("until %v, %v", st.LeaseUntil, g.Warnings())
	}
	f.set(leaseOfThen)
	if st := g.Status(); st.Usable || st.Reason != license.LeaseOver {
		t.Errorf("%s", st)
	}
}

// A process that runs knows what it holds, whatever becomes of the file, and
// writes it with the next change; it is not set back by it.
func TestDamageWhileRunning(t *testing.T) {
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorn(t)
			g := w.open()
			damage(t, w)
			w.clock.add(4 * day)
			check(t, g.Import(w.files[1])) // which changes nothing, but looks
			wantDamaged(t, g)
			if st := g.Status(); !st.Usable || !st.At.Equal(epoch.Add(5*day)) {
				t.Errorf("%s", st)
			}
			w.clock.add(time.Hour)
			check(t, g.Refresh(t.Context()))
			wantLicensed(t, g)
			check(t, g.Close())
			wantLicensed(t, w.open())
		})
	}
}

// A damaged file that cannot be taken out of the way keeps nobody from
// starting, and the next change takes its place.
func TestDamageThatCannotBeSetAside(t *testing.T) {
	for name, block := range map[string]string{"a folder of the name": ".damaged", "no lock": ".lock"} {
		t.Run(name, func(t *testing.T) {
			w := newWorn(t)
			_ = os.Remove(w.path + block)
			check(t, os.MkdirAll(filepath.Join(w.path+block, "x"), 0o700))
			check(t, os.WriteFile(w.path, w.whole[:100], 0o600))
			for range 2 {
				g := w.open()
				wantDamaged(t, g)
				if !strings.Contains(g.Warnings()[0].Error(), "set the damaged memory aside") {
					t.Errorf("it does not say so: %v", g.Warnings())
				}
				if data, err := os.ReadFile(w.path); err != nil || !bytes.Equal(data, w.whole[:100]) {
					t.Errorf("the file was touched: %v", err)
				}
				check(t, g.Close())
			}
			if name == "no lock" {
				check(t, os.RemoveAll(w.path+block))
			}
			g := w.open()
			w.wantNothingGained(g)
			w.clock.add(4 * day)
			check(t, g.Activate(t.Context(), code))
			wantLicensed(t, w.open())
		})
	}
}
