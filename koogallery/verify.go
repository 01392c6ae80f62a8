package koogallery

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"
)

// Limits of a callback. Documented bodies stay under 10 KiB and nonces under
// 65 characters.
const (
	MaxBody       = 64 << 10 // bytes
	MaxNonce      = 128      // bytes
	DefaultWindow = 60 * time.Second
)

// Verifier decides whether a callback is authentic, fresh and no copy. Set the
// fields before first use and leave them alone then; it is safe for concurrent
// use and must not be copied.
type Verifier struct {
	// Keys are the access keys which may have signed; a call does not name its
	// key. Usually there is one, and two while a key is being exchanged. Empty
	// keys are ignored, and without any key every call is refused.
	Keys []AccessKey
	// Window is how far a timestamp may lie from now, on either side and
	// inclusive; 0 means DefaultWindow.
	Window time.Duration
	// Replay remembers calls; nil means a MemoryReplayCache of its own.
	Replay ReplayCache
	// Now is the clock; nil means time.Now.
	Now func() time.Time

	once   sync.Once
	macs   []*callbackMAC // nil where the key is empty
	replay ReplayCache
}

// PayloadForm tells which reading of the signed payload fitted.
type PayloadForm uint8

// The two readings (docs/protocol.md, "What exactly is payload").
const (
	PayloadRaw       PayloadForm = iota // the bytes as received
	PayloadCanonical                    // CanonicalPayload of them
)

// String is "raw" or "canonical".
func (f PayloadForm) String() string {
	if f == PayloadCanonical {
		return "canonical"
	}
	return "raw"
}

// Callback is an authentic call, not yet interpreted: see ParseMessage.
type Callback struct {
	Time     time.Time   // the call's timestamp, in UTC, to the millisecond
	KeyIndex int         // which of Verifier.Keys fitted
	Form     PayloadForm // how the sender reads the payload; raw if both fit
	Replay   ReplayID    // to be stored by callers with several processes
	// body holds the code, among others. It is a pointer to a pointer because
	// fmt, given a verb that does not fit, prints what a single one points to.
	body **payload
}

// Verify checks a call given its URL parameters and exact body. The checks, in
// this order, and the code of the *ResultError which each gives (access guide
// …649248 and the vendor's sample):
//
//   - timestamp absent, repeated, not 13 digits or outside the window: 000002
//   - nonce absent, repeated or longer than MaxNonce: 000002
//   - signature repeated: 000002; absent: 000001
//   - body longer than MaxBody: 000002
//   - signature not that of the body under any key: 000001
//   - a copy of an earlier call: 000001
//
// Other parameters are ignored. Whether the body means anything is not asked
// here: an authentic empty body is a Callback without an activity. Only calls
// whose signature fits are remembered.
func (v *Verifier) Verify(query url.Values, body []byte) (Callback, error) {
	v.once.Do(v.prepare)
	now := v.now()
	timestamp, at, err := v.timestamp(query, now)
	if err != nil {
		return Callback{}, err
	}
	nonce, err := single(query, "nonce", ErrNonce)
	if err != nil {
		return Callback{}, err
	}
	if len(nonce) > MaxNonce {
		return Callback{}, refuse(ResultInvalidParam, "nonce", ErrNonce)
	}
	signature, err := readSignature(query)
	if err != nil {
		return Callback{}, err
	}
	if len(body) > MaxBody {
		return Callback{}, refuse(ResultInvalidParam, "", ErrPayload)
	}
	cb := Callback{Time: at, body: &parsePayload(string(body)).self}
	if !v.authentic(&cb, &signature, nonce, timestamp, body) {
		return Callback{}, refuse(ResultAuthFailed, "", ErrSignature)
	}
	cb.Replay = v.macs[cb.KeyIndex].replayID(at, &signature, nonce)
	if !v.replay.Add(cb.Replay, now, now.Add(max(2*v.window(), MinReplayKeep))) {
		return Callback{}, refuse(ResultAuthFailed, "", ErrReplayed)
	}
	return cb, nil
}

// VerifyRequest is Verify of a request's query and body. It reads the body, at
// most one byte beyond MaxBody. A query which cannot be decoded and a body
// which breaks off are 000002.
func (v *Verifier) VerifyRequest(r *http.Request) (Callback, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil { // its text would quote the query
		return Callback{}, refuse(ResultInvalidParam, "", errors.New("query cannot be decoded"))
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, MaxBody+1))
	if err != nil {
		return Callback{}, refuse(ResultInvalidParam, "", errors.Join(ErrPayload, err))
	}
	return v.Verify(query, body)
}

func (v *Verifier) prepare() {
	v.macs = make([]*callbackMAC, len(v.Keys))
	for i, k := range v.Keys {
		if !k.IsZero() {
			v.macs[i] = newCallbackMAC(k)
		}
	}
	if v.replay = v.Replay; v.replay == nil {
		v.replay = &MemoryReplayCache{}
	}
}

func (v *Verifier) now() time.Time {
	if v.Now != nil {
		return v.Now()
	}
	return time.Now() //nolint:forbidigo // the default of the field
}

func (v *Verifier) window() time.Duration {
	if v.Window > 0 {
		return v.Window
	}
	return DefaultWindow
}

// timestamp accepts exactly 13 digits without a leading zero. Nonce and
// timestamp are signed without a separator, so with any other length a digit
// could move between them under the same signature.
func (v *Verifier) timestamp(query url.Values, now time.Time) (string, time.Time, error) {
	s, err := single(query, "timestamp", ErrTimestamp)
	if err != nil {
		return "", time.Time{}, err
	}
	ms, err := strconv.ParseUint(s, 10, 63)
	if err != nil || len(s) != 13 || s[0] == '0' {
		return "", time.Time{}, refuse(ResultInvalidParam, "timestamp", ErrTimestamp)
	}
	off := now.UnixMilli() - int64(ms)
	if window := v.window().Milliseconds(); off > window || off < -window {
		return "", time.Time{}, refuse(ResultInvalidParam, "timestamp", ErrOutsideWindow)
	}
	return s, time.UnixMilli(int64(ms)).UTC(), nil
}

// single reads a parameter which must be there once.
func single(query url.Values, name string, missing error) (string, error) {
	values := query[name]
	if len(values) > 1 {
		return "", refuse(ResultInvalidParam, name, ErrRepeated)
	}
	if len(values) == 0 || values[0] == "" {
		return "", refuse(ResultInvalidParam, name, missing)
	}
	return values[0], nil
}

func readSignature(query url.Values) (sum [sha256.Size]byte, err error) {
	s, err := single(query, "signature", ErrSignatureMissing)
	if err != nil {
		if errors.Is(err, ErrSignatureMissing) {
			err = refuse(ResultAuthFailed, "signature", ErrSignatureMissing)
		}
		return sum, err
	}
	if len(s) != hex.EncodedLen(len(sum)) {
		return sum, refuse(ResultAuthFailed, "", ErrSignature)
	}
	if _, err := hex.Decode(sum[:], []byte(s)); err != nil {
		return sum, refuse(ResultAuthFailed, "", ErrSignature)
	}
	return sum, nil
}

// authentic tries the raw payload and, where that does not fit and another
// form exists, the canonical one.
func (v *Verifier) authentic(cb *Callback, signature *[sha256.Size]byte, nonce, timestamp string, body []byte) bool {
	i, ok := v.fits(signature, nonce, timestamp, body)
	if !ok {
		canonical, err := (*cb.body).canonical(make([]byte, 0, len(body)+16))
		if err != nil || bytes.Equal(canonical, body) {
			return false
		}
		cb.Form = PayloadCanonical
		i, ok = v.fits(signature, nonce, timestamp, canonical)
	}
	cb.KeyIndex = i
	return ok
}

// fits tries every key, always all of them and without branching on the
// outcome, so that the time taken tells nothing about which one fitted.
func (v *Verifier) fits(signature *[sha256.Size]byte, nonce, timestamp string, payload []byte) (int, bool) {
	var sum [sha256.Size]byte
	index, found := 0, 0
	for i, m := range v.macs {
		if m == nil {
			continue
		}
		m.sign(&sum, nonce, timestamp, payload)
		equal := subtle.ConstantTimeCompare(sum[:], signature[:])
		index = subtle.ConstantTimeSelect(equal&^found, i, index)
		found |= equal
	}
	return index, found == 1
}
