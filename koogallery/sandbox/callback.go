package sandbox

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/seed-357fa782/licensed/koogallery"
)

func newNonce() string { return rand.Text() }

func newCallback(ctx context.Context, address *url.URL, signed url.Values, body []byte) (*http.Request, error) {
	u := *address
	query := u.Query()
	maps.Copy(query, signed)
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json;charset=utf-8")
	req.Header.Set("Accept", "application/json")
	return req, nil
}

// withoutURL takes the signed address out of a client's error.
func withoutURL(err error) error {
	if ue, ok := errors.AsType[*url.Error](err); ok {
		return ue.Err
	}
	return err
}

func readResult(r io.Reader) (koogallery.ResultCode, string, error) {
	body, err := io.ReadAll(io.LimitReader(r, 64<<10))
	if err != nil {
		return "", "", fmt.Errorf("read answer: %w", err)
	}
	var result struct {
		Code koogallery.ResultCode `json:"resultCode"`
		Msg  string                `json:"resultMsg"`
	}
	if json.Unmarshal(body, &result) != nil || result.Code == "" {
		return "", "", errors.New("answer is no JSON with a resultCode")
	}
	return result.Code, result.Msg, nil
}

// debugCase is a saved debug call of the seller console.
type debugCase struct {
	activity koogallery.Activity
	code     string
}

// Debug sends one debug call (testFlag 1) for a made-up or real code, once, and
// saves it as a case for Probe. The other fields are filled with "test".
func (s *Sandbox) Debug(activity koogallery.Activity, code koogallery.Code) (int64, error) {
	c := debugCase{activity, code.Reveal()}
	if _, ok := c.fields(s); !ok || !validCode(c.code) {
		return 0, fmt.Errorf("debug %q: %w", activity, ErrInvalid)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	const maxCases = 100
	if len(s.cases) < maxCases && !slices.Contains(s.cases, c) {
		s.cases = append(s.cases, c)
	}
	return s.debug(c), nil
}

// Probe replays the saved debug cases as the platform does twice a day, or one
// for each activity with the code "test" if none was saved. It returns the ids
// of the deliveries.
func (s *Sandbox) Probe() []int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	cases := s.cases
	if len(cases) == 0 {
		cases = []debugCase{
			{koogallery.ActivityRefreshLicenseCode, "test"},
			{koogallery.ActivityUpdateLicenseCodeStatus, "test"},
			{koogallery.ActivityReleaseLicenseCode, "test"},
		}
	}
	var ids []int64
	for _, c := range cases {
		ids = append(ids, s.debug(c))
	}
	return ids
}

func (s *Sandbox) probeRegularly(ctx context.Context) {
	ticker := time.NewTicker(s.opts.ProbeInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			s.Probe()
		case <-ctx.Done():
			return
		}
	}
}

func (s *Sandbox) debug(c debugCase) int64 {
	fields, _ := c.fields(s)
	return s.push(c.code, c.activity, fields)
}

func (c debugCase) fields(s *Sandbox) (map[string]string, bool) {
	fields := map[string]string{"license": c.code, "testFlag": "1"}
	switch c.activity { //nolint:exhaustive // the stand-in sends only these
	case koogallery.ActivityRefreshLicenseCode:
		fields["scene"] = string(koogallery.SceneRenewal)
		fields["orderId"], fields["orderLineId"], fields["productId"] = "test", "test", "test"
		fields["expireTime"] = s.compact(s.now())
	case koogallery.ActivityUpdateLicenseCodeStatus:
		fields["status"] = string(koogallery.StatusFreeze)
	case koogallery.ActivityReleaseLicenseCode:
		fields["orderId"], fields["orderLineId"] = "test", "test"
	default:
		return nil, false
	}
	return fields, true
}
