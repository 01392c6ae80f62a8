package koogallery

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Limits of a call of licence 1.0. The documented ones stay under 2 KiB.
const (
	MaxV1Query      = 16 << 10         // bytes of the query, encoded or not
	MaxV1Params     = 100              // parameters
	DefaultV1Window = 15 * time.Minute // no page names one
)

// The parameters which authenticate a call of licence 1.0.
const (
	paramAuthToken = "authToken"
	paramTimeStamp = "timeStamp"
)

// V1Verifier decides whether a call of licence 1.0, the retired GET interface,
// is authentic (access guide …649153, …649156). Set the fields before first use;
// it is safe for concurrent use.
//
// The interface has no nonce: a call can be repeated by whoever saw it until its
// time stamp leaves the window, so what a call causes has to be idempotent. What
// is signed joins names and values without quoting, so two calls may share a
// token. Those are refused in which an id, a number, a date or one of a few words
// holds "&" or "=", or any value "&name=" with a documented name: what is left of
// two such calls differs in free text, and in parameters that no table knows.
type V1Verifier struct {
	// Keys are the access keys which may have signed; a call does not name its
	// key. Empty keys are ignored, and without any key every call is refused.
	Keys []AccessKey
	// Window is how far a time stamp may lie from now, on either side and
	// inclusive; 0 means DefaultV1Window. Negative is no limit, which is how
	// the vendor's code does it.
	Window time.Duration
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// V1Call is an authentic call of licence 1.0, not yet interpreted: see
// ParseV1Message.
type V1Call struct {
	Time     time.Time // the call's time stamp, in UTC, to the millisecond
	KeyIndex int       // which of V1Verifier.Keys fitted
	// body holds personal data; see Callback.
	body **payload
}

// Field returns a parameter, empty if it is absent: for what the typed messages
// do not hold.
func (c V1Call) Field(name string) string {
	if c.body == nil {
		return ""
	}
	return (*c.body).lookup(name).value
}

// Verify checks a call given its query parameters. The checks, in this order,
// and the code of the *ResultError which each gives:
//
//   - a parameter repeated, too many or too long, or one that could be read in
//     two ways: 000002
//   - authToken absent: 000001
//   - timeStamp absent, not 14 to 17 digits of a date, or outside the window:
//     000002
//   - authToken not that of the parameters under any key: 000001
//
// Parameters which no table knows are signed too, and otherwise ignored.
func (v *V1Verifier) Verify(query url.Values) (V1Call, error) {
	p, err := v1Payload(query)
	if err != nil {
		return V1Call{}, err
	}
	token := query.Get(paramAuthToken)
	if token == "" {
		return V1Call{}, refuse(ResultAuthFailed, paramAuthToken, ErrSignatureMissing)
	}
	stamp := query.Get(paramTimeStamp)
	at, ok := parseV1Stamp(stamp)
	if !ok {
		return V1Call{}, refuse(ResultInvalidParam, paramTimeStamp, ErrTimestamp)
	}
	if !v.inWindow(at) {
		return V1Call{}, refuse(ResultInvalidParam, paramTimeStamp, ErrOutsideWindow)
	}
	i, ok := v.fits(token, stamp, v1StringToSign(query))
	if !ok {
		return V1Call{}, refuse(ResultAuthFailed, "", ErrSignature)
	}
	return V1Call{Time: at, KeyIndex: i, body: &p.self}, nil
}

// VerifyRequest is Verify of a request's query. One which is longer than
// MaxV1Query or cannot be decoded is 000002.
func (v *V1Verifier) VerifyRequest(r *http.Request) (V1Call, error) {
	if len(r.URL.RawQuery) > MaxV1Query {
		return V1Call{}, refuse(ResultInvalidParam, "", ErrPayload)
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil { // its text would quote the query
		return V1Call{}, refuse(ResultInvalidParam, "", errors.New("query cannot be decoded"))
	}
	return v.Verify(query)
}

func (v *V1Verifier) inWindow(at time.Time) bool {
	if v.Window < 0 {
		return true
	}
	now, window := v.Now, v.Window
	if now == nil {
		now = time.Now //nolint:forbidigo // the default of the field
	}
	if window == 0 {
		window = DefaultV1Window
	}
	// Whole seconds on both sides, so that the bound is inclusive.
	return now().Truncate(time.Second).Sub(at.Truncate(time.Second)).Abs() <= window
}

// fits tries every key, see Verifier.fits. A "+" in a token that was not
// encoded arrives as a blank.
func (v *V1Verifier) fits(token, stamp, text string) (int, bool) {
	given := []byte(strings.ReplaceAll(token, " ", "+"))
	index, found := 0, 0
	for i, k := range v.Keys {
		if k.IsZero() {
			continue
		}
		equal := subtle.ConstantTimeCompare([]byte(v1Token(k, stamp, text)), given)
		index = subtle.ConstantTimeSelect(equal&^found, i, index)
		found |= equal
	}
	return index, found == 1
}

// V1AuthToken returns the authToken of a call of licence 1.0 as the marketplace
// makes it: base64(HMAC-SHA256(access key + timeStamp, "k1=v1&k2=v2…")) over all
// parameters but authToken, sorted by name and not encoded. A verifier needs a
// V1Verifier instead; this is for stand-ins and for tests of a merchant's own
// server. Of several values of one name the first counts.
func V1AuthToken(key AccessKey, params url.Values) string {
	return v1Token(key, params.Get(paramTimeStamp), v1StringToSign(params))
}

func v1Token(key AccessKey, stamp, text string) string {
	mac := hmac.New(sha256.New, []byte(key.Reveal()+stamp))
	mac.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// v1StringToSign sorts as the vendor's Java does. Empty values stay, as "k=".
func v1StringToSign(params url.Values) string {
	names := make([]string, 0, len(params))
	for name, values := range params {
		if name != paramAuthToken && len(values) > 0 {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, compareUTF16)
	var b strings.Builder
	for i, name := range names {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(name + "=" + params[name][0])
	}
	return b.String()
}

// parseV1Stamp reads yyyyMMddHHmmssSSS. A page prints one with a single digit
// of milliseconds: Java writes them so without leading zeros.
func parseV1Stamp(s string) (time.Time, bool) {
	if len(s) < 14 || len(s) > 17 || !allDigits(s) {
		return time.Time{}, false
	}
	at, ok := parseCompact(s[:14], nil)
	ms := 0
	for _, digit := range []byte(s[14:]) {
		ms = 10*ms + int(digit-'0')
	}
	return at.Add(time.Duration(ms) * time.Millisecond), ok
}

// v1Strict are the parameters that are an id, a number, a date or one of a few
// words, also those that only the sibling interface documents. None of them holds
// "&" or "=", so what follows one in the signed text is another parameter.
var v1Strict = [...]string{
	"activity", "amount", "businessId", "chargingMode", "customerId", "encryptType", "expireTime", "instanceId", "orderAmount",
	"orderId", "orderLineId", "periodNumber", "periodType", "productId", "provisionType", "scene", "skuCode", "testFlag", "timeStamp",
}

// v1Free are the other documented parameters. Nobody's name holds "&expireTime=".
var v1Free = [...]string{"authToken", "customerName", "email", "mobilePhone"}

// v1Payload holds parameters as the fields of a message, within the limits.
func v1Payload(query url.Values) (*payload, error) {
	if len(query) > MaxV1Params {
		return nil, refuse(ResultInvalidParam, "", ErrPayload)
	}
	p := &payload{}
	p.self = p
	size := 0
	for name, values := range query {
		if len(values) != 1 {
			return nil, refuse(ResultInvalidParam, "", ErrRepeated)
		}
		value := values[0]
		if size += len(name) + len(value); size > MaxV1Query || !utf8.ValidString(name+value) {
			return nil, refuse(ResultInvalidParam, "", ErrPayload)
		}
		if strings.ContainsAny(name, "&=") || slices.Contains(v1Strict[:], name) && strings.ContainsAny(value, "&=") || holdsV1Param(value) {
			return nil, refuse(ResultInvalidParam, "", ErrAmbiguous)
		}
		p.fields = append(p.fields, field{key: name, value: value, kind: kindText})
	}
	return p, nil
}

// holdsV1Param reports a value in which another documented parameter begins:
// under the same token it could have been sent as that parameter.
func holdsV1Param(value string) bool {
	for {
		_, rest, found := strings.Cut(value, "&")
		if !found {
			return false
		}
		name, _, found := strings.Cut(rest, "=")
		if found && (slices.Contains(v1Strict[:], name) || slices.Contains(v1Free[:], name)) {
			return true
		}
		value = rest
	}
}

// BodySign returns the header Body-Sign which licence 1.0 requires on every
// answer (access guide …649157), over the exact bytes of the answer.
func BodySign(key AccessKey, body []byte) string {
	mac := hmac.New(sha256.New, []byte(key.Reveal()))
	mac.Write(body)
	return `sign_type="HMAC-SHA256", signature= "` + base64.StdEncoding.EncodeToString(mac.Sum(nil)) + `"`
}

// WriteSignedResult is WriteResult with a Body-Sign header made with key, which
// is the one that signed the call, or any where none did.
func WriteSignedResult(w http.ResponseWriter, key AccessKey, r Result) error {
	body := r.AppendJSON(make([]byte, 0, 256))
	w.Header().Set("Body-Sign", BodySign(key, body))
	return writeJSON(w, body)
}
