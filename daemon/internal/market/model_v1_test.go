package market_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"

	"github.com/seed-357fa782/licensed/koogallery"
	"github.com/seed-357fa782/licensed/koogallery/sandbox"
	"github.com/seed-357fa782/licensed/license/token"
)

// sale is what the merchant has answered to the getLicense of one order.
type sale struct {
	query    url.Values // the first call
	instance string
	license  string // id of the licence
	text     []byte // the newest
	end      int64  // that it is signed for
	unsure   bool   // an answer was made that nobody saw
}

func resultOf(body []byte) (koogallery.ResultCode, bool) {
	var r struct {
		Code koogallery.ResultCode `json:"resultCode"`
	}
	err := json.Unmarshal(body, &r)
	return r.Code, err == nil && r.Code != ""
}

func (m *modelled) saleOf(order string) *sale {
	s := m.sales[order]
	if s == nil {
		s = &sale{}
		m.sales[order] = s
	}
	return s
}

// sold takes the answer to a getLicense. One order gets one instance and one
// licence. It gets the same text too, but where nothing but the text carries the
// end to the buyer and that was moved.
func (m *modelled) sold(query url.Values, body []byte) {
	var r struct {
		Instance string `json:"instanceId"`
		License  string `json:"license"`
	}
	if err := json.Unmarshal(body, &r); err != nil {
		m.errorf("the answer to getLicense: %v", err)
	}
	order := query.Get("orderId")
	l, err := m.verify([]byte(r.License))
	if err != nil {
		m.errorf("the licence of %s, through licence 1.0: %v", order, err)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.saleOf(order)
	text, end := []byte(r.License), l.Dates.ExpiresAt.Unix()
	if s.instance == "" {
		s.query, s.instance, s.license = maps.Clone(query), r.Instance, l.LicenseID
	}
	free := query.Get("productId") == v1Free
	switch {
	case s.instance != r.Instance:
		m.errorf("%s has two instances: %s and %s", order, s.instance, r.Instance)
	case s.license != l.LicenseID:
		m.errorf("%s has two licences: %s and %s", order, s.license, l.LicenseID)
	case s.text != nil && !bytes.Equal(s.text, text) && (!free || s.end == end && !s.unsure):
		m.errorf("%s has two texts of the end %d and %d", order, s.end, end)
	}
	s.text, s.end, s.unsure = text, end, false
}

// unsure notes that an answer may have been made that nobody saw.
func (m *modelled) unsure(rq *http.Request) {
	if !asksForLicence(rq) {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.saleOf(rq.URL.Query().Get("orderId")).unsure = true
}

// asksForLicence reports whether a call is a getLicense, and no probe.
func asksForLicence(rq *http.Request) bool {
	query := rq.URL.Query()
	return rq.Method == http.MethodGet && query.Get("activity") == string(koogallery.ActivityV1GetLicense) && query.Get("testFlag") != "1"
}

// verify reads a licence file as a product does that was shipped with the
// anchors, and has nothing but the file.
func (m *modelled) verify(file []byte) (token.License, error) {
	f, err := token.ParseFile(file)
	if err != nil {
		return token.License{}, err
	}
	if len(f.Licenses) != 1 || len(f.KeySets) != 1 {
		return token.License{}, fmt.Errorf("%d licences and %d key sets", len(f.Licenses), len(f.KeySets))
	}
	set, err := token.VerifyKeySet(f.KeySets[0], m.keys.Anchors())
	if err != nil {
		return token.License{}, err
	}
	return token.VerifyLicense(f.Licenses[0], set, token.Expect{Issuer: issuer})
}

// codeOf is the code in the licence that a buyer got through licence 1.0.
func (m *modelled) codeOf(p *purchase) string {
	for line := range strings.Lines(m.state(p).License.Reveal()) {
		if code, ok := strings.CutPrefix(line, "Authorization code: "); ok {
			return strings.TrimSpace(code)
		}
	}
	return ""
}

// sellAgain is a getLicense of an order that has its licence: signed anew, with
// another businessId. Of what is not bound the marketplace would not have another
// text after a renewal, so it is not told of that one.
func (m *modelled) sellAgain(p *purchase) bool {
	if p.Product == v1Bound {
		return m.s.GetLicense(p.Ref()) == nil
	}
	m.mu.Lock()
	query := maps.Clone(m.saleOf(p.ID).query)
	m.mu.Unlock()
	if query == nil {
		return false
	}
	m.n++
	query.Set("businessId", fmt.Sprint("again-", m.n))
	query.Set("timeStamp", m.options.Now().Format("20060102150405")+"000")
	query.Del("authToken")
	query.Set("authToken", koogallery.V1AuthToken(m.key, query))
	rq, err := http.NewRequestWithContext(m.t.Context(), http.MethodGet, "http://127.0.0.1/marketplace/"+channel+"?"+query.Encode(), http.NoBody)
	m.must(err)
	var code koogallery.ResultCode
	resp, err := m.exchange(rq, func(c koogallery.ResultCode) { code = c })
	if err != nil {
		return false
	}
	_ = resp.Body.Close() // it is in memory
	ended := m.state(p).Status == sandbox.Released
	if code != koogallery.ResultOK && (!ended || code != koogallery.ResultUnknownCode) {
		m.errorf("getLicense again for %s is answered with %s", p, code)
	}
	return true
}
