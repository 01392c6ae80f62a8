package clienttest

import (
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/license/wire"
)

// LicenseSpec is what a licence is sold with. The zero value is a year of what
// the server sells.
type LicenseSpec struct {
	// Code is the code that it is activated by; "" makes one up. A marketplace's code
	// is any text, one that begins with LIC is checked for typing errors.
	Code string
	// Until when it lasts: For counts from now; Perpetual has no end; neither is a year.
	For       time.Duration
	Perpetual bool

	// What is zero is as ServerOptions.Product has it. Another Product makes a code
	// that the server refuses for its own with WrongProduct.
	Product  string
	Machines int
	Mode     license.Mode
	Features license.Features // see Features
	Phases   license.Phases
	Overage  *int

	Customer string // "" is Example Ltd
	Order    string
	Trial    bool
}

func (s LicenseSpec) end(now time.Time) time.Time {
	switch {
	case s.Perpetual:
		return time.Time{}
	case s.For != 0:
		return now.Add(s.For)
	}
	return now.Add(365 * day)
}

// Issue makes a licence and returns the code to activate it by, in the form in
// which a buyer gets it.
func (s *Server) Issue(spec LicenseSpec) (code string) {
	s.tb.Helper()
	s.do("issue a licence", func(b *book, now time.Time) error {
		c, err := b.issue(spec, now)
		code = c.Reveal()
		return err
	})
	return code
}

// Renew sets the end of a licence, later or earlier; license.Forever and the zero
// time are none. Installs learn of it when they call home.
func (s *Server) Renew(code string, until time.Time) {
	s.tb.Helper()
	if !until.Before(license.Forever) {
		until = time.Time{}
	}
	s.change("renew", code, license.Change{Event: license.EventRenew, ExpiresAt: until.UTC().Truncate(time.Second)})
}

// Suspend holds a licence, as the merchant does: requests are refused, and its
// status list says so.
func (s *Server) Suspend(code string) {
	s.tb.Helper()
	s.change("suspend", code, license.Change{Event: license.EventSuspend})
}

// Resume lifts what Suspend did.
func (s *Server) Resume(code string) {
	s.tb.Helper()
	s.change("resume", code, license.Change{Event: license.EventResume})
}

// Revoke revokes a licence for good: requests are refused, and its status list
// says so at once. That is how it stands on a real server a day after it was
// revoked; until then see RevokeUndoable.
func (s *Server) Revoke(code string) {
	s.tb.Helper()
	s.revoke(code, 0)
}

// RevokeUndoable revokes a licence as the daemon does (undo_window, a day by
// default): requests are refused as revoked at once, but as long as it can be
// undone the status list says that it is suspended.
func (s *Server) RevokeUndoable(code string, undo time.Duration) {
	s.tb.Helper()
	s.revoke(code, undo)
}

func (s *Server) revoke(code string, undo time.Duration) {
	s.tb.Helper()
	s.do("revoke a licence", func(b *book, now time.Time) error {
		if err := b.change(code, license.Change{Event: license.EventRevoke, At: now, Reason: "in a test"}); err != nil {
			return err
		}
		e, err := b.find(code)
		if err == nil {
			e.undo = undo
		}
		return err
	})
}

// UndoRevoke undoes RevokeUndoable within its time.
func (s *Server) UndoRevoke(code string) {
	s.tb.Helper()
	s.do("undo a revocation", func(b *book, now time.Time) error {
		e, err := b.find(code)
		if err != nil {
			return err
		}
		return b.change(code, license.Change{Event: license.EventUndoRevoke, At: now, Undo: e.undo})
	})
}

// Release ends a licence as the marketplace does when a purchase is returned.
func (s *Server) Release(code string) {
	s.tb.Helper()
	s.change("release", code, license.Change{Event: license.EventRelease})
}

// SetFeatures replaces the features of a licence.
func (s *Server) SetFeatures(code string, f license.Features) {
	s.tb.Helper()
	s.upgrade(code, func(u *license.Upgrade) { u.Features = f })
}

// SetMachines changes for how many machines, or floating installs, a licence is.
// Installs that are too many by then stay until they are ended.
func (s *Server) SetMachines(code string, n int) {
	s.tb.Helper()
	s.upgrade(code, func(u *license.Upgrade) { u.Machines = n })
}

func (s *Server) upgrade(code string, edit func(*license.Upgrade)) {
	s.tb.Helper()
	s.do("change a licence", func(b *book, now time.Time) error {
		e, err := b.find(code)
		if err != nil {
			return err
		}
		u := license.Upgrade{Product: e.license.Product, Features: e.license.Features, Machines: e.license.Machines}
		edit(&u)
		return b.change(code, license.Change{Event: license.EventUpgrade, At: now, Upgrade: u})
	})
}

// RemoveInstall ends an install as the merchant's staff does; see Installs. Its
// status list says that it was revoked.
func (s *Server) RemoveInstall(code, installID string) {
	s.tb.Helper()
	s.do("remove an install", func(b *book, now time.Time) error {
		e, err := b.find(code)
		if err != nil {
			return err
		}
		i, ok := e.install(installID)
		if !ok {
			return license.Errorf(license.NotFound, "the licence has no such install")
		}
		e.end([]license.Install{i}, license.InstallRemoved, now)
		return nil
	})
}

// RotateKeys has the server sign by another key from now on. What was signed
// before stays good.
func (s *Server) RotateKeys() {
	s.tb.Helper()
	s.do("rotate keys", func(b *book, now time.Time) error { return b.rotate(now, false) })
}

// RevokeKeys has the server sign by another key, and takes all that it signed by
// before out of its key set, as after a theft: nothing that they have signed
// counts any more for whoever has seen the new set.
func (s *Server) RevokeKeys() {
	s.tb.Helper()
	s.do("revoke keys", func(b *book, now time.Time) error { return b.rotate(now, true) })
}

// Sign answers a request file of a machine without a network with a licence file,
// as "licensectl sign" and the buyer's page do. code is given beside a request that
// carries none, else "". What is wrong with the server does not matter here.
func (s *Server) Sign(file []byte, code string) ([]byte, error) {
	raw, err := token.ParseRequestFile(file)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a, err := s.book.answerTo(wire.Request{Request: raw, Code: code}, s.now())
	if err != nil {
		return nil, err
	}
	return licenseFile(a), nil
}

// License is a licence as the server knows it.
func (s *Server) License(code string) license.License {
	s.tb.Helper()
	var l license.License
	s.do("look at a licence", func(b *book, _ time.Time) error {
		e, err := b.find(code)
		if err == nil {
			l = e.license.Clone()
		}
		return err
	})
	return l
}

// Installs are those of a licence, oldest first, the ended ones too.
func (s *Server) Installs(code string) []license.Install {
	s.tb.Helper()
	var out []license.Install
	s.do("look at a licence", func(b *book, _ time.Time) error {
		e, err := b.find(code)
		if err == nil {
			for _, i := range e.installs {
				out = append(out, i.Clone())
			}
		}
		return err
	})
	return out
}

// SeatsTaken is how many machines, or running floating installs, have a licence now.
func (s *Server) SeatsTaken(code string) int {
	s.tb.Helper()
	l, installs := s.License(code), s.Installs(code)
	return l.SeatsTaken(installs, s.now())
}

func (s *Server) change(what, code string, c license.Change) {
	s.tb.Helper()
	s.do(what+" a licence", func(b *book, now time.Time) error {
		c.At = now
		return b.change(code, c)
	})
}

// do changes or reads the book; what cannot be done is a mistake in the test.
func (s *Server) do(what string, f func(b *book, now time.Time) error) {
	s.tb.Helper()
	s.mu.Lock()
	err := f(&s.book, s.now())
	s.mu.Unlock()
	if err != nil {
		s.tb.Fatalf("clienttest: %s: %v", what, err)
	}
}

func (s *Server) now() time.Time { return s.clock.Now().UTC().Truncate(time.Second) }
