package sandbox

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"
)

// codeInfo describes a code, in all answers.
type codeInfo struct {
	LicenseCode  string `json:"license_code,omitempty"`
	Status       string `json:"status"`
	ExpireTime   string `json:"expire_time,omitempty"`
	ActivateTime string `json:"activate_time,omitempty"`
	ProductID    string `json:"product_id"`
	OrderID      string `json:"order_id"`
	Amount       int64  `json:"amount"`
}

// licenseCode finds an authorization code. The caller holds s.mu.
func (s *Sandbox) licenseCode(text string) (*sale, bool) {
	c, ok := s.codes[text]
	return c, ok && c.iface == License2
}

func (s *Sandbox) serveActivate(body []byte) apiAnswer {
	const call = "activate"
	m, ok := s.requestMembers(call, body, "license", "real_effect_time")
	if !ok {
		return badParam()
	}
	var code, at string
	if err := cmp.Or(m.text("license", &code), m.text("real_effect_time", &at)); err != nil {
		return s.refuseType(call, err)
	}
	effective, ok := effectTime(at)
	if !ok || !validCode(code) {
		return badParam()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	c, known := s.licenseCode(code)
	if !known {
		return answer(codeNotExist, "license code notexist")
	}
	if refusal := s.mayActivate(c, effective); refusal != nil {
		return *refusal
	}
	c.activate(now, effective)
	s.noteSale(c, EventOrder, "activated and checked")
	a := answer(codeOK, "success")
	a.Data = s.activationData(c, now)
	return a
}

func (s *Sandbox) activationData(c *sale, now time.Time) any {
	info := codeInfo{
		Status: string(c.status(now)), ProductID: c.product, OrderID: c.purchase.ID, Amount: c.amount,
	}
	if !c.expiresAt.IsZero() {
		info.ExpireTime = s.compact(c.expiresAt.Add(-estimateOff))
	}
	text, _ := json.Marshal(info) // strings and a number always encode
	return map[string]string{"license_code_info": string(text)}
}

// mayActivate returns the refusal, if there is one.
func (s *Sandbox) mayActivate(c *sale, effective time.Time) *apiAnswer {
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

func (c *sale) activate(now, effective time.Time) {
	c.activatedAt = now
	if !effective.IsZero() {
		c.activatedAt = effective
	}
	if c.period > 0 {
		c.expiresAt = c.activatedAt.Add(c.period)
	}
}

// codeList reads the body of a call about several codes.
func (s *Sandbox) codeList(call string, body []byte) (codes []string, effective time.Time, ok bool) {
	m, ok := s.requestMembers(call, body, "license_list", "real_effect_time")
	if !ok {
		return nil, time.Time{}, false
	}
	var at string
	if err := cmp.Or(m.into("license_list", "a list of texts", &codes), m.text("real_effect_time", &at)); err != nil {
		s.violate(call + ": " + err.Error())
		return nil, time.Time{}, false
	}
	if len(codes) == 0 || len(codes) > maxBatch || slices.ContainsFunc(codes, func(text string) bool { return !validCode(text) }) {
		return nil, time.Time{}, false
	}
	effective, ok = effectTime(at)
	return codes, effective, ok
}

// serveActivateBatch activates all codes or none; whether the real one does is
// not documented.
func (s *Sandbox) serveActivateBatch(body []byte) apiAnswer {
	list, effective, ok := s.codeList("activate v2", body)
	if !ok {
		return badParam()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	var codes []*sale
	for _, text := range list {
		c, known := s.licenseCode(text)
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
		s.noteSale(c, EventOrder, "activated and checked")
	}
	return answer(codeOK, "success")
}

// serveHeartbeat answers the query of one code. An older edition lets existing
// goods of licence 1.0 ask with their instance id.
func (s *Sandbox) serveHeartbeat(body []byte) apiAnswer {
	const call = "query"
	m, ok := s.requestMembers(call, body, "license")
	if !ok {
		return badParam()
	}
	var code string
	if err := m.text("license", &code); err != nil {
		return s.refuseType(call, err)
	}
	if !validCode(code) {
		return badParam()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, known := s.licenseCode(code)
	if v1 := s.instances[code]; !known && v1 != nil && v1.iface == License1 {
		c, known = v1, true
	}
	if !known {
		return answer(codeNotExist, "license code notexist")
	}
	data, ok := s.queryData(c)
	if !ok {
		return answer(codeNotActivated, "license code has been not activated.")
	}
	data.LicenseCode = code
	a := answer(codeOK, "success")
	a.Data = data
	return a
}

// serveHeartbeatBatch answers the query of several codes, the shape of which is
// not documented: a list of what the query of one answers. One code that is
// unknown or not activated refuses all.
func (s *Sandbox) serveHeartbeatBatch(body []byte) apiAnswer {
	list, _, ok := s.codeList("query v2", body)
	if !ok {
		return badParam()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	infos := make([]codeInfo, 0, len(list))
	for _, text := range list {
		c, known := s.licenseCode(text)
		if !known {
			return answer(codeInvalidBatch, "Invalid license code exists.")
		}
		data, ok := s.queryData(c)
		if !ok {
			return answer(codeNotActivated, "license code has been not activated.")
		}
		infos = append(infos, data)
	}
	a := answer(codeOK, "success")
	a.Data = map[string]any{"license_list": infos}
	return a
}

func (s *Sandbox) queryData(c *sale) (codeInfo, bool) {
	status := c.status(s.now())
	if status == Issued {
		return codeInfo{}, false
	}
	data := codeInfo{
		LicenseCode: c.text, Status: string(status),
		ProductID: c.product, OrderID: c.purchase.ID, Amount: c.amount,
	}
	if !c.activatedAt.IsZero() {
		data.ActivateTime = c.activatedAt.Format(compactLayout)
	}
	if !c.expiresAt.IsZero() {
		data.ExpireTime = s.compact(c.expiresAt)
	}
	return data, true
}

// usageReport is what a report says of one code.
type usageReport struct {
	License string
	Clients []struct {
		ID        *string
		ActiveNum *int
	}
}

const usageMember = "software_usage_Info" // the capital is the table's

// usageReports reads the body of a report by its exact names.
func (s *Sandbox) usageReports(body []byte) ([]usageReport, bool) {
	const call = "usage"
	root, ok := s.requestMembers(call, body, "usage_info")
	if !ok {
		return nil, false
	}
	var out []usageReport
	read := func() error {
		list, err := root.list("usage_info")
		if err != nil {
			return err
		}
		for _, item := range list {
			s.noteMisspelt(call, item, "license", usageMember)
			var u usageReport
			clients, err := item.list(usageMember)
			if err := cmp.Or(err, item.text("license", &u.License)); err != nil {
				return err
			}
			for _, client := range clients {
				s.noteMisspelt(call, client, "id", "active_num")
				var c struct {
					ID        *string
					ActiveNum *int
				}
				if err := cmp.Or(client.into("id", "a text", &c.ID), client.into("active_num", "a whole number", &c.ActiveNum)); err != nil {
					return err
				}
				u.Clients = append(u.Clients, c)
			}
			out = append(out, u)
		}
		return nil
	}
	if err := read(); err != nil {
		s.violate(call + ": " + err.Error())
		return nil, false
	}
	return out, validUsage(out)
}

// validUsage checks the limits of the table (page 0000002290055385).
func validUsage(list []usageReport) bool {
	if len(list) == 0 || len(list) > maxBatch {
		return false
	}
	for _, u := range list {
		if !validCode(u.License) || len(u.Clients) == 0 || len(u.Clients) > maxBatch {
			return false
		}
		for _, c := range u.Clients {
			switch {
			case (c.ID == nil) == (c.ActiveNum == nil):
				return false
			case c.ID != nil && (*c.ID == "" || characters(*c.ID) > 256):
				return false
			case c.ActiveNum != nil && (*c.ActiveNum < 0 || *c.ActiveNum > 999_999_999):
				return false
			}
		}
	}
	return true
}

// serveUsage records usage. The list of codes which fail the check has a name
// that is known in part only; unknown and released codes are put there, and one
// that was not activated refuses the report, as its error code's text says.
func (s *Sandbox) serveUsage(body []byte) apiAnswer {
	reports, ok := s.usageReports(body)
	if !ok {
		return badParam()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	failed := []string{}
	for _, u := range reports {
		switch c, known := s.licenseCode(u.License); {
		case !known || !c.releasedAt.IsZero():
			failed = append(failed, u.License)
		case c.activatedAt.IsZero():
			return answer(codeNotActivated, "license code has been not activated.")
		}
	}
	for _, u := range reports {
		c, known := s.licenseCode(u.License)
		if !known || !c.releasedAt.IsZero() {
			continue
		}
		var ids []string
		active := 0
		for _, client := range u.Clients {
			if client.ID != nil {
				ids = append(ids, *client.ID)
			} else {
				active = *client.ActiveNum
			}
		}
		c.used(now.Format("2006-01-02"), ids, active)
	}
	a := answer(codeOK, "success")
	if len(failed) > 0 {
		a.Data = map[string]any{"check_fail_list": failed}
	}
	return a
}
