package sandbox

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	cryptorand "crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/koogallery"
)

// call is one attempt at a message, made up under Sandbox.mu and sent without.
type call struct {
	url      *url.URL
	client   *http.Client
	key      koogallery.AccessKey
	get      bool
	nonce    string
	dialect  Dialect
	fields   map[string]string
	personal map[string]koogallery.PersonalData
	how      koogallery.Encryption
	skew     time.Duration
	half     bool
	pause    time.Duration
	lose     bool
}

// callAnswer is what the merchant answered.
type callAnswer struct {
	code       koogallery.ResultCode
	msg        string
	instanceID string
	license    koogallery.LicenseText
	violations []string // by which the merchant broke a rule
}

// newNonce is never used twice, whatever the seed: a merchant who remembers
// nonces, as the pages ask, may outlive a run.
func newNonce() string { return (cryptorand.Text() + cryptorand.Text())[:32] }

// randomText is n upper-case letters and digits.
func randomText(r *rand.Rand, n int) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[r.IntN(len(alphabet))]
	}
	return string(b)
}

// prepare makes up the next attempt, with its faults. The caller holds s.mu.
func (s *Sandbox) prepare(t *target, d *delivery) (call, error) {
	n, subject := len(d.Attempts), d.subject
	c := call{
		url: t.url, client: t.client, key: s.key(t), get: isV1(d.Activity), fields: maps.Clone(d.fields), personal: d.personal,
		nonce: newNonce(), dialect: s.dialect,
	}
	c.fields["activity"] = string(d.Activity)
	switch d.Activity { //nolint:exhaustive // the others name nothing that changes
	case koogallery.ActivityNewInstance, koogallery.ActivityV1GetLicense:
		c.fields["businessId"] = s.businessID(subject, n)
	default:
		if d.sale != nil && d.sale.iface != License2 {
			if d.sale.instance == "" {
				return c, errors.New("there is no instance to name")
			}
			c.fields["instanceId"] = d.sale.instance
		}
	}
	maps.DeleteFunc(c.fields, func(_, value string) bool { return value == "" })
	if p := s.products[d.Product]; p != nil {
		c.how = p.Encryption
	}
	if d.Test {
		return c, nil
	}
	e := d.event(EventFault, fmt.Sprintf("attempt %d", n+1))
	if r, hit := s.hits(FaultWrongClock, e, subject, n); hit {
		if c.skew = s.misbehaviour.Skew; r.IntN(2) == 0 {
			c.skew = -c.skew
		}
	}
	if !c.get {
		if _, hit := s.hits(FaultSlowRequest, e, subject, n); hit {
			c.pause = s.misbehaviour.SlowFor
		}
		_, c.half = s.hits(FaultHalfRequest, e, subject, n)
	}
	_, c.lose = s.hits(FaultLostAnswer, e, subject, n)
	return c, nil
}

// businessID is another one in each attempt. The caller holds s.mu.
func (s *Sandbox) businessID(subject string, n int) string {
	if s.ids != nil {
		return strings.ToLower(randomText(s.draws("business\n"+subject, n), 32))
	}
	return strings.ToLower(newNonce())
}

// send makes the call at a time and reads the answer.
func (s *Sandbox) send(ctx context.Context, c call, at time.Time) (Attempt, callAnswer, Exchange) {
	ctx, cancel := context.WithTimeout(ctx, s.opts.CallTimeout)
	defer cancel()
	a := Attempt{At: at.UTC()}
	wire := Exchange{At: a.At}
	req, signed, err := s.request(ctx, c, at.Add(c.skew))
	if err != nil {
		a.Error = err.Error()
		return a, callAnswer{}, wire
	}
	wire.Request, wire.Signed = newRaw(signed.request(req)), newRaw(signed.steps)
	resp, err := c.client.Do(req)
	if err != nil {
		a.Error = withoutURL(err).Error()
		return a, callAnswer{}, wire
	}
	defer func() { _ = resp.Body.Close() }() // read as far as wanted
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if c.lose {
		a.Error = "the answer was lost"
		return a, callAnswer{}, wire
	}
	wire.Answer = newRaw(answerText(resp, body))
	a.HTTPStatus = resp.StatusCode
	var answer callAnswer
	if err == nil {
		answer, err = readResult(body)
	}
	a.ResultCode, a.ResultMsg = answer.code, answer.msg
	sign := ""
	if c.get {
		sign = bodySignFault(c.key, resp.Header.Get("Body-Sign"), body)
	}
	switch {
	case err != nil:
		a.Error = err.Error()
		if a.HTTPStatus == http.StatusOK {
			answer.violations = append(answer.violations, a.Error)
		}
	case sign != "":
		a.Error = sign
		answer.violations = append(answer.violations, sign)
	}
	return a, answer, wire
}

// request signs afresh: the platform repeats after two minutes, when the old
// signature is out of the window.
func (s *Sandbox) request(ctx context.Context, c call, at time.Time) (*http.Request, signing, error) {
	if c.get {
		return s.getRequest(ctx, c, at)
	}
	u := *c.url
	query := u.Query()
	body := c.dialect.body(c.fields)
	payload := body
	if c.dialect.SignedForm == SignedFormCanonical {
		canonical, err := koogallery.CanonicalPayload(body)
		if err != nil {
			return nil, signing{}, fmt.Errorf("canonical form: %w", err)
		}
		payload = canonical
	}
	added := koogallery.SignedQuery(c.key, c.nonce, at, payload)
	if c.dialect.SignatureCase == SignatureCaseUpper {
		added.Set("signature", strings.ToUpper(added.Get("signature")))
	}
	signed := signing{body: body, steps: postSteps(c.key, added, payload)}
	maps.Copy(query, added)
	u.RawQuery = query.Encode()
	if c.half {
		body = body[:len(body)/2]
		signed.body = body
	}
	var content io.Reader = bytes.NewReader(body)
	if c.pause > 0 {
		half := len(body) / 2
		content = io.MultiReader(bytes.NewReader(body[:half]), pausing{func() error { return s.sleep(ctx, c.pause) }}, bytes.NewReader(body[half:]))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), content)
	if err != nil {
		return nil, signing{}, err
	}
	req.ContentLength = int64(len(body))
	req.Header.Set("Content-Type", "application/json;charset=utf-8")
	req.Header.Set("Accept", "application/json")
	return req, signed, nil
}

// getRequest is the form of licence 1.0.
func (s *Sandbox) getRequest(ctx context.Context, c call, at time.Time) (*http.Request, signing, error) {
	u := *c.url
	for name, data := range c.personal {
		if data.IsZero() {
			continue
		}
		text, err := data.Encrypt(c.key, c.how)
		if err != nil {
			return nil, signing{}, fmt.Errorf("encrypt %s: %w", name, err)
		}
		c.fields[name] = text
	}
	// What is signed are the parameters of the request, those of the
	// production address included.
	for name, values := range u.Query() {
		if _, ours := c.fields[name]; !ours && len(values) > 0 {
			c.fields[name] = values[0]
		}
	}
	query := v1Query(c.key, c.fields, at)
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	return req, signing{steps: getSteps(query)}, err
}

// sampleOrder is the order of the printed sample of getLicenseAsync; the other
// samples are sorted.
var sampleOrder = []string{"activity", "eventId", "instanceId", "effectiveTime", "expireTime", "deviceFingerprint", "testFlag"}

// body is a callback's body. Its members are written by the canonical form, on
// which both readings of the signature agree where they are sorted.
func (d Dialect) body(fields map[string]string) []byte {
	names := sortedKeys(fields)
	if d.BodyOrder == BodyOrderSample && fields["activity"] == string(koogallery.ActivityGetLicenseAsync) {
		slices.SortStableFunc(names, func(a, b string) int { return slices.Index(sampleOrder, a) - slices.Index(sampleOrder, b) })
	}
	out := []byte{'{'}
	for _, name := range names {
		plain, _ := json.Marshal(map[string]string{name: fields[name]}) // a text
		member, err := koogallery.CanonicalPayload(plain)
		if err != nil {
			member = plain
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(out, member[1:len(member)-1]...)
	}
	return append(out, '}')
}

// pausing is a reader of nothing that takes a while.
type pausing struct{ pause func() error }

func (p pausing) Read([]byte) (int, error) {
	if err := p.pause(); err != nil {
		return 0, err
	}
	return 0, io.EOF
}

// bodySignFault checks the answer of licence 1.0 (access guide …649157), blanks
// aside, and says what is wrong with it. It is written without the merchant's
// code, so that the two check each other.
func bodySignFault(key koogallery.AccessKey, header string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(key.Reveal()))
	mac.Write(body)
	want := mac.Sum(nil)
	expected := `expected Body-Sign: sign_type="HMAC-SHA256", signature= "` + base64.StdEncoding.EncodeToString(want) + `" for this body`
	if header == "" {
		return "Body-Sign is missing; " + expected
	}
	header = strings.ReplaceAll(header, " ", "")
	given, begins := strings.CutPrefix(header, `sign_type="HMAC-SHA256",signature="`)
	given, ends := strings.CutSuffix(given, `"`)
	if !begins || !ends {
		return "Body-Sign is not in the printed form; " + expected
	}
	if sum, err := base64.StdEncoding.DecodeString(given); err != nil || !hmac.Equal(sum, want) {
		return "Body-Sign is wrong; " + expected
	}
	return ""
}

// withoutURL takes the signed address out of a client's error.
func withoutURL(err error) error {
	if ue, ok := errors.AsType[*url.Error](err); ok {
		return ue.Err
	}
	return err
}

// maxResultMsg is the documented length of resultMsg in characters.
const maxResultMsg = 255

// readResult reads an answer by the exact names of the tables. Its error, and
// the violations, say what was read instead.
func readResult(body []byte) (callAnswer, error) {
	m, err := readMembers(body)
	if err != nil {
		return callAnswer{}, fmt.Errorf("the answer is %w, not an object with a resultCode", err)
	}
	var code, msg, instance, license string
	if err := cmp.Or(m.text("resultCode", &code), m.text("resultMsg", &msg)); err != nil {
		return callAnswer{}, fmt.Errorf("the answer's %w", err)
	}
	wrong := m.misspelt("resultCode", "resultMsg", "instanceId", "license")
	if code == "" {
		return callAnswer{}, errors.New(strings.Join(append([]string{"the answer has no resultCode"}, wrong...), "; "))
	}
	a := callAnswer{code: koogallery.ResultCode(shorten(code, 64)), msg: shorten(msg, 1024)}
	for _, text := range wrong {
		a.violations = append(a.violations, "the answer's "+text+"; names are case-sensitive")
	}
	if n := characters(msg); n > maxResultMsg {
		a.violations = append(a.violations, fmt.Sprintf("resultMsg has %d characters, more than %d", n, maxResultMsg))
	}
	if err := cmp.Or(m.text("instanceId", &instance), m.text("license", &license)); err != nil {
		return a, fmt.Errorf("the answer's %w", err)
	}
	a.instanceID, a.license = instance, koogallery.NewLicenseText(license)
	return a, nil
}
