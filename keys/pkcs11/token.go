//go:build pkcs11

package pkcs11

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	p11 "github.com/miekg/pkcs11"
)

// Options say which token, and how it is used.
type Options struct {
	Module     string // path of the vendor's library
	TokenLabel string // CKA_LABEL of the token: which of those that the module shows
	PIN        string // of the user; it is kept, for when a session is lost
	KeyLabel   string // that keys get, and by which ours are told from others; "" is "licensed"
	// Sessions is how many signatures are made at a time; zero means 4. Fewer are
	// used where the token does not allow as many.
	Sessions int
}

const (
	defaultLabel    = "licensed"
	defaultSessions = 4
	maxSessions     = 64
)

func (o Options) validate() error {
	switch {
	case o.Module == "":
		return errors.New("the path of the PKCS #11 module is missing")
	case o.TokenLabel == "":
		return errors.New("the label of the token is missing")
	case o.PIN == "":
		return errors.New("the PIN of the token is missing")
	case o.Sessions < 0 || o.Sessions > maxSessions:
		return fmt.Errorf("%d sessions: between 1 and %d can be used", o.Sessions, maxSessions)
	}
	return nil
}

// Token is a keys.Keystore on a PKCS #11 token. It is safe for concurrent use.
type Token struct {
	module   *p11.Ctx
	token    string
	label    string
	sessions int
	pin      func() string // out of reach of fmt

	mu      sync.RWMutex // held for reading while the connection is used
	conn    *connection  // nil where there is none
	refused error        // the PIN was: it is not tried again
	closed  bool
}

// connection is a token with sessions that are logged in.
type connection struct {
	slot     uint
	sessions chan p11.SessionHandle

	mu   sync.Mutex
	keys map[string]key // by kid, as they were looked up last
}

// Open loads the module, and logs in to the token.
func Open(o Options) (*Token, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	t := &Token{
		module: p11.New(o.Module), token: o.TokenLabel, label: o.KeyLabel, sessions: o.Sessions, pin: func() string { return o.PIN },
	}
	if t.module == nil {
		return nil, fmt.Errorf("the PKCS #11 module %s cannot be loaded", o.Module)
	}
	if t.label == "" {
		t.label = defaultLabel
	}
	if t.sessions == 0 {
		t.sessions = defaultSessions
	}
	if err := t.with(func(*connection, p11.SessionHandle) error { return nil }); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// Close logs out and lets the module go.
func (t *Token) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil
	}
	t.closed = true
	t.drop()
	_ = t.module.Finalize() // what it could complain about is over
	t.module.Destroy()
	return nil
}

var errClosed = errors.New("the token is closed")

// with runs do on a session of its own. Where the session or the token was lost,
// it is looked for again, and do is run once more.
func (t *Token) with(do func(*connection, p11.SessionHandle) error) error {
	for again := false; ; again = true {
		c, err := t.borrow()
		if err != nil {
			return err
		}
		s := <-c.sessions
		err = do(c, s)
		c.sessions <- s
		t.mu.RUnlock()
		if err == nil || again || !lost(err) {
			return err
		}
		t.forget(c)
	}
}

// borrow returns the connection, with the lock held for reading; it makes one where
// there is none.
func (t *Token) borrow() (*connection, error) {
	for {
		t.mu.RLock()
		if t.conn != nil {
			return t.conn, nil
		}
		t.mu.RUnlock()
		if err := t.connect(); err != nil {
			return nil, err
		}
	}
}

// connect makes a connection where there is none.
func (t *Token) connect() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		return errClosed
	case t.refused != nil:
		return t.refused
	case t.conn != nil:
		return nil
	}
	if err := t.module.Initialize(); err != nil && !errors.Is(err, p11.Error(p11.CKR_CRYPTOKI_ALREADY_INITIALIZED)) {
		return fmt.Errorf("start the PKCS #11 module: %w", err)
	}
	c, err := t.login()
	if err != nil && t.refused == nil {
		// Some modules look for tokens only when they start.
		_ = t.module.Finalize()
		if again := t.module.Initialize(); again == nil {
			c, err = t.login()
		}
	}
	if err != nil {
		return err
	}
	t.conn = c
	return nil
}

// forget ends a connection that was lost, unless another has done so.
func (t *Token) forget(c *connection) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.conn == c {
		t.drop()
	}
}

// drop ends the connection, under the lock.
func (t *Token) drop() {
	if t.conn != nil {
		_ = t.module.CloseAllSessions(t.conn.slot) // it may be lost already
		t.conn = nil
	}
}

// login finds the token, and opens sessions on it.
func (t *Token) login() (*connection, error) {
	slot, err := t.find()
	if err != nil {
		return nil, err
	}
	const flags = p11.CKF_SERIAL_SESSION | p11.CKF_RW_SESSION
	first, err := t.module.OpenSession(slot, flags)
	if err != nil {
		return nil, fmt.Errorf("open a session on the token %s: %w", t.token, err)
	}
	err = t.module.Login(first, p11.CKU_USER, t.pin())
	if err != nil && !errors.Is(err, p11.Error(p11.CKR_USER_ALREADY_LOGGED_IN)) {
		_ = t.module.CloseSession(first)
		err = fmt.Errorf("log in to the token %s: %w", t.token, err)
		if isAny(err, p11.CKR_PIN_INCORRECT, p11.CKR_PIN_LOCKED, p11.CKR_PIN_INVALID, p11.CKR_PIN_LEN_RANGE, p11.CKR_PIN_EXPIRED) {
			t.refused = err
		}
		return nil, err
	}
	c := &connection{slot: slot, sessions: make(chan p11.SessionHandle, t.sessions)}
	c.sessions <- first
	for range t.sessions - 1 {
		s, err := t.module.OpenSession(slot, flags)
		if err != nil {
			break // as many as it allows
		}
		c.sessions <- s
	}
	return c, nil
}

// find returns the slot of the one token with the label.
func (t *Token) find() (uint, error) {
	slots, err := t.module.GetSlotList(true)
	if err != nil {
		return 0, fmt.Errorf("list the tokens: %w", err)
	}
	var found []uint
	var labels []string
	for _, slot := range slots {
		info, err := t.module.GetTokenInfo(slot)
		if err != nil {
			continue // one that was just pulled out, or is of another kind
		}
		label := strings.TrimRight(info.Label, " \x00")
		labels = append(labels, fmt.Sprintf("%q", label))
		if label == t.token {
			found = append(found, slot)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return 0, fmt.Errorf("%d tokens are labelled %q, and must be one", len(found), t.token)
	}
	slices.Sort(labels)
	return 0, fmt.Errorf("there is no token labelled %q; the module shows %s", t.token, strings.Join(append(labels, "no other"), ", "))
}

// lost reports whether an error says that a session, or the token, is gone, so that
// another one may do.
func lost(err error) bool {
	return isAny(err, p11.CKR_SESSION_HANDLE_INVALID, p11.CKR_SESSION_CLOSED, p11.CKR_USER_NOT_LOGGED_IN, p11.CKR_TOKEN_NOT_PRESENT,
		p11.CKR_DEVICE_REMOVED, p11.CKR_DEVICE_ERROR, p11.CKR_CRYPTOKI_NOT_INITIALIZED, p11.CKR_OBJECT_HANDLE_INVALID,
		p11.CKR_KEY_HANDLE_INVALID, p11.CKR_TOKEN_NOT_RECOGNIZED, p11.CKR_SLOT_ID_INVALID, p11.CKR_OPERATION_ACTIVE)
}

func isAny(err error, codes ...uint) bool {
	e, ok := errors.AsType[p11.Error](err)
	return ok && slices.Contains(codes, uint(e))
}
