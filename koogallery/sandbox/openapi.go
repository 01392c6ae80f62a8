package sandbox

import (
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"time"
)

const apiRoot = "/api/mkp-openapi-public/global"

// estimateOff is how far the expiry which an activation answers lies before the
// real one. It makes software noticeable that keeps the estimate.
const estimateOff = time.Minute

// The error codes of the licence calls (access guide …649195).
const (
	codeOK             = "92020000"
	codeInvalidParam   = "92020002"
	codeIllegalState   = "92020003"
	codeNotReceived    = "92020004"
	codeNotExist       = "92020005"
	codeNotActivated   = "92020011"
	codeInvalidBatch   = "92020020"
	codeParamPattern   = "95000001"
	codeMethod         = "95000002"
	codeContentType    = "95000003"
	codeNotReadable    = "95000004"
	codeGatewayUnknown = "APIGW.0101"
	codeGatewayAuth    = "APIGW.0301"
	codeGatewayBackend = "APIGW.0201"
)

// apiAnswer is an answer of the open API.
type apiAnswer struct {
	status    int
	ErrorCode string `json:"error_code"`
	ErrorMsg  string `json:"error_msg"`
	RequestID string `json:"request_id,omitempty"` // of the gateway's own answers
	Data      any    `json:"data,omitempty"`
}

func answer(code, msg string) apiAnswer {
	return apiAnswer{status: http.StatusOK, ErrorCode: code, ErrorMsg: msg}
}

func (a apiAnswer) write(w http.ResponseWriter) {
	writeJSON(w, a.status, a)
}

// api wraps one call: outage, gateway, then method, content type and body, in
// the order in which the real chain meets them.
func (s *Sandbox) api(call func(body []byte) apiAnswer) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if s.failByOutage(w) {
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil {
			apiAnswer{http.StatusBadRequest, codeNotReadable, "req message is not readable", "", nil}.write(w)
			return
		}
		if why := s.checkSDKSignature(r, body); why != "" {
			gatewayAnswer(http.StatusUnauthorized, codeGatewayAuth, "Incorrect IAM authentication information: "+why).write(w)
			return
		}
		media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
		switch {
		case r.Method != http.MethodPost:
			apiAnswer{http.StatusMethodNotAllowed, codeMethod, "Request method not supported", "", nil}.write(w)
		case media != "application/json":
			apiAnswer{http.StatusUnsupportedMediaType, codeContentType, "Content type not supported", "", nil}.write(w)
		case !json.Valid(body):
			apiAnswer{http.StatusBadRequest, codeNotReadable, "req message is not readable", "", nil}.write(w)
		default:
			call(body).write(w)
		}
	}
}

func gatewayAnswer(status int, code, msg string) apiAnswer {
	return apiAnswer{status: status, ErrorCode: code, ErrorMsg: msg, RequestID: newRequestID()}
}

func badParam() apiAnswer {
	return apiAnswer{http.StatusBadRequest, codeParamPattern, "req param is invalid", "", nil}
}

func validCode(s string) bool { return s != "" && characters(s) <= 64 }

// effectTime reads real_effect_time, always UTC.
func effectTime(s string) (time.Time, bool) {
	if s == "" {
		return time.Time{}, true
	}
	t, err := time.Parse(compactLayout, s)
	return t, err == nil
}

func (s *Sandbox) serveActivate(body []byte) apiAnswer {
	var req struct {
		License        string `json:"license"`
		RealEffectTime string `json:"real_effect_time"`
	}
	if json.Unmarshal(body, &req) != nil || !validCode(req.License) {
		return badParam()
	}
	effective, ok := effectTime(req.RealEffectTime)
	if !ok {
		return badParam()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	c, known := s.codes[req.License]
	if !known {
		return answer(codeNotExist, "license code notexist")
	}
	if refusal := s.mayActivate(c, effective); refusal != nil {
		return *refusal
	}
	c.activate(now, effective)
	a := answer(codeOK, "success")
	a.Data = s.activationData(c, now)
	return a
}

func (s *Sandbox) activationData(c *code, now time.Time) any {
	info := codeInfo{
		Status: string(c.status(now)), ProductID: c.product, OrderID: c.purchase.ID, Amount: c.purchase.Amount,
	}
	if !c.expiresAt.IsZero() {
		info.ExpireTime = s.compact(c.expiresAt.Add(-estimateOff))
	}
	text, _ := json.Marshal(info) // strings and a number always encode
	return map[string]string{"license_code_info": string(text)}
}

// codeInfo describes a code, in both answers.
type codeInfo struct {
	LicenseCode  string `json:"license_code,omitempty"`
	Status       string `json:"status"`
	ExpireTime   string `json:"expire_time,omitempty"`
	ActivateTime string `json:"activate_time,omitempty"`
	ProductID    string `json:"product_id"`
	OrderID      string `json:"order_id"`
	Amount       int64  `json:"amount"`
}

// mayActivate returns the refusal, if there is one.
func (s *Sandbox) mayActivate(c *code, effective time.Time) *apiAnswer {
	var a apiAnswer
	switch {
	case !c.releasedAt.IsZero() || !c.activatedAt.IsZero():
		a = answer(codeIllegalState, "illegal state")
	case s.opts.RequireReceive && !c.received:
		a = answer(codeNotReceived, "can not active before user received.")
	case !effective.IsZero() && effective.Before(c.boughtAt):
		a = answer(codeInvalidParam, "invalid param")
	default:
		return nil
	}
	return &a
}

func (c *code) activate(now, effective time.Time) {
	c.activatedAt = now
	if !effective.IsZero() {
		c.activatedAt = effective
	}
	if c.period > 0 {
		c.expiresAt = c.activatedAt.Add(c.period)
	}
}

// serveActivateBatch activates all codes or none; whether the real one does is
// not documented.
func (s *Sandbox) serveActivateBatch(body []byte) apiAnswer {
	var req struct {
		LicenseList    []string `json:"license_list"`
		RealEffectTime string   `json:"real_effect_time"`
	}
	if json.Unmarshal(body, &req) != nil || len(req.LicenseList) == 0 || len(req.LicenseList) > 100 {
		return badParam()
	}
	effective, ok := effectTime(req.RealEffectTime)
	if !ok {
		return badParam()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	var codes []*code
	for _, text := range req.LicenseList {
		if !validCode(text) {
			return badParam()
		}
		c, known := s.codes[text]
		if !known || !c.releasedAt.IsZero() {
			return answer(codeInvalidBatch, "Invalid license code exists.")
		}
		if refusal := s.mayActivate(c, effective); refusal != nil {
			return *refusal
		}
		codes = append(codes, c)
	}
	for _, c := range codes {
		c.activate(now, effective)
	}
	return answer(codeOK, "success")
}

func (s *Sandbox) serveHeartbeat(body []byte) apiAnswer {
	var req struct {
		License string `json:"license"`
	}
	if json.Unmarshal(body, &req) != nil || !validCode(req.License) {
		return badParam()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, known := s.codes[req.License]
	if !known {
		return answer(codeNotExist, "license code notexist")
	}
	status := c.status(s.now())
	if status == Issued {
		return answer(codeNotActivated, "license code has been not activated.")
	}
	data := codeInfo{
		LicenseCode: c.text, Status: string(status),
		ProductID: c.product, OrderID: c.purchase.ID, Amount: c.purchase.Amount,
	}
	if !c.activatedAt.IsZero() {
		data.ActivateTime = c.activatedAt.Format(compactLayout)
	}
	if !c.expiresAt.IsZero() {
		data.ExpireTime = s.compact(c.expiresAt)
	}
	a := answer(codeOK, "success")
	a.Data = data
	return a
}
