package sandbox

import (
	"bytes"
	"context"
	"crypto/hmac"
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
}

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
	n, subject := len(d.Attempts), fmt.Sprintf("message %d", d.ID)
	c := call{
		url: t.url, client: t.client, key: t.key, get: isV1(d.Activity), fields: maps.Clone(d.fields), personal: d.personal,
		nonce: randomText(s.draws("nonce\n"+subject, n), 32),
	}
	c.fields["activity"] = string(d.Activity)
	switch d.Activity { //nolint:exhaustive // the others name nothing that changes
	case koogallery.ActivityNewInstance, koogallery.ActivityV1GetLicense:
		c.fields["businessId"] = strings.ToLower(randomText(s.draws("business\n"+subject, n), 32))
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
	e := Event{Product: d.Product, Code: d.Code, Activity: d.Activity, Delivery: d.ID, Text: fmt.Sprintf("attempt %d", n+1)}
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

// send makes the call at a time and reads the answer.
func (s *Sandbox) send(ctx context.Context, c call, at time.Time) (Attempt, callAnswer) {
	ctx, cancel := context.WithTimeout(ctx, s.opts.CallTimeout)
	defer cancel()
	a := Attempt{At: at.UTC()}
	req, err := s.request(ctx, c, at.Add(c.skew))
	if err != nil {
		a.Error = err.Error()
		return a, callAnswer{}
	}
	resp, err := c.client.Do(req)
	if err != nil {
		a.Error = withoutURL(err).Error()
		return a, callAnswer{}
	}
	defer func() { _ = resp.Body.Close() }() // read as far as wanted
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if c.lose {
		a.Error = "the answer was lost"
		return a, callAnswer{}
	}
	a.HTTPStatus = resp.StatusCode
	var answer callAnswer
	if err == nil {
		answer, err = readResult(body)
	}
	a.ResultCode, a.ResultMsg = answer.code, answer.msg
	switch {
	case err != nil:
		a.Error = err.Error()
	case c.get && !bodySigned(c.key, resp.Header.Get("Body-Sign"), body):
		a.Error = errBodySign
	}
	return a, answer
}

const errBodySign = "Body-Sign is missing or wrong"

// request signs afresh: the platform repeats after two minutes, when the old
// signature is out of the window.
func (s *Sandbox) request(ctx context.Context, c call, at time.Time) (*http.Request, error) {
	u := *c.url
	query := u.Query()
	if c.get {
		for name, data := range c.personal {
			if data.IsZero() {
				continue
			}
			text, err := data.Encrypt(c.key, c.how)
			if err != nil {
				return nil, fmt.Errorf("encrypt %s: %w", name, err)
			}
			c.fields[name] = text
		}
		// What is signed are the parameters of the request, those of the
		// production address included.
		for name, values := range query {
			if _, ours := c.fields[name]; !ours && len(values) > 0 {
				c.fields[name] = values[0]
			}
		}
		u.RawQuery = v1Query(c.key, c.fields, at).Encode()
		return http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	}
	plain, _ := json.Marshal(c.fields) // texts
	// The canonical form is what both readings of the signature agree on.
	body, err := koogallery.CanonicalPayload(plain)
	if err != nil {
		body = plain
	}
	maps.Copy(query, koogallery.SignedQuery(c.key, c.nonce, at, body))
	u.RawQuery = query.Encode()
	if c.half {
		body = body[:len(body)/2]
	}
	var content io.Reader = bytes.NewReader(body)
	if c.pause > 0 {
		half := len(body) / 2
		content = io.MultiReader(bytes.NewReader(body[:half]), pausing{func() error { return s.sleep(ctx, c.pause) }}, bytes.NewReader(body[half:]))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), content)
	if err != nil {
		return nil, err
	}
	req.ContentLength = int64(len(body))
	req.Header.Set("Content-Type", "application/json;charset=utf-8")
	req.Header.Set("Accept", "application/json")
	return req, nil
}

// pausing is a reader of nothing that takes a while.
type pausing struct{ pause func() error }

func (p pausing) Read([]byte) (int, error) {
	if err := p.pause(); err != nil {
		return 0, err
	}
	return 0, io.EOF
}

// bodySigned checks the answer of licence 1.0 (access guide …649157), blanks
// aside. It is written without the merchant's code, so that the two check each
// other.
func bodySigned(key koogallery.AccessKey, header string, body []byte) bool {
	header = strings.ReplaceAll(header, " ", "")
	given, begins := strings.CutPrefix(header, `sign_type="HMAC-SHA256",signature="`)
	given, ends := strings.CutSuffix(given, `"`)
	if !begins || !ends {
		return false
	}
	mac := hmac.New(sha256.New, []byte(key.Reveal()))
	mac.Write(body)
	sum, err := base64.StdEncoding.DecodeString(given)
	return err == nil && hmac.Equal(sum, mac.Sum(nil))
}

// withoutURL takes the signed address out of a client's error.
func withoutURL(err error) error {
	if ue, ok := errors.AsType[*url.Error](err); ok {
		return ue.Err
	}
	return err
}

func readResult(body []byte) (callAnswer, error) {
	var result struct {
		Code       koogallery.ResultCode `json:"resultCode"`
		Msg        string                `json:"resultMsg"`
		InstanceID string                `json:"instanceId"`
		License    string                `json:"license"`
	}
	if json.Unmarshal(body, &result) != nil || result.Code == "" {
		return callAnswer{}, errors.New("answer is no JSON with a resultCode")
	}
	code, msg := koogallery.ResultCode(shorten(string(result.Code), 64)), shorten(result.Msg, 1024)
	return callAnswer{code, msg, result.InstanceID, koogallery.NewLicenseText(result.License)}, nil
}
