package koogallery

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Limits of a usage report.
const (
	MaxUsageIDs    = 100         // ids for one code
	MaxUsageID     = 256         // characters of an id
	MaxActiveCount = 999_999_999 // of ActiveNum
)

// Usage is one code's part of the daily usage report: either IDs or ActiveNum.
type Usage struct {
	License Code
	// IDs name the clients which used the code, accounts or devices, so that the
	// marketplace can count different ones; 1 to MaxUsageIDs of up to MaxUsageID
	// characters.
	IDs []string
	// ActiveNum is the number of clients active that day, 1 to MaxActiveCount.
	ActiveNum int
}

// UsageResult is what the marketplace said about a report which it took.
type UsageResult struct {
	// Rejected are the codes of the report which failed its check.
	Rejected []Code
	// Unread says that the answer lists failures which could not be read or
	// matched to codes of the report: some code may be missing from Rejected.
	Unread bool
}

type usageRequest struct {
	UsageInfo []usageInfo `json:"usage_info"`
}

type usageInfo struct {
	License string        `json:"license"`
	Clients []usageClient `json:"software_usage_Info"` // the capital I is documented
}

type usageClient struct {
	ID        string `json:"id,omitempty"`
	ActiveNum int    `json:"active_num,omitempty"`
}

// ReportUsage reports the use of 1 to MaxBatch different codes (v2, access
// guide page 0000002290055385). It is optional, but owed for co-sold products
// on the public cloud, on the first use of each day. Errors are those of Query,
// and ErrInvalidParam before anything is sent where a report breaks a limit or
// has both IDs and ActiveNum, or neither.
func (c *Client) ReportUsage(ctx context.Context, reports []Usage) (UsageResult, error) {
	if len(reports) == 0 || len(reports) > MaxBatch {
		return UsageResult{}, fmt.Errorf("report usage of %d codes, 1 to %d allowed: %w", len(reports), MaxBatch, ErrInvalidParam)
	}
	var req usageRequest
	var hide []string
	sent := make(map[string]bool, len(reports))
	for i, u := range reports {
		if err := u.check(); err != nil {
			return UsageResult{}, fmt.Errorf("report usage: report %d: %w", i, err)
		}
		code := u.License.Reveal()
		if sent[code] {
			return UsageResult{}, fmt.Errorf("report usage: report %d: code occurs twice: %w", i, ErrInvalidParam)
		}
		sent[code] = true
		hide = append(append(hide, code), u.IDs...)
		req.UsageInfo = append(req.UsageInfo, usageInfo{License: code, Clients: u.clients()})
	}
	data, err := c.post(ctx, "/v2/license/software-usage-info", req, hide...)
	if err != nil {
		return UsageResult{}, fmt.Errorf("report usage: %w", err)
	}
	listed, whole := readFailed(data, sent)
	result := UsageResult{Unread: !whole}
	for _, u := range reports {
		if listed[u.License.Reveal()] {
			result.Rejected = append(result.Rejected, u.License)
		}
	}
	return result, nil
}

func (u Usage) check() error {
	if err := checkCodes(u.License); err != nil {
		return err
	}
	switch n := len(u.IDs); {
	case (n > 0) == (u.ActiveNum != 0):
		return fmt.Errorf("want exactly one of IDs and ActiveNum: %w", ErrInvalidParam)
	case u.ActiveNum < 0 || u.ActiveNum > MaxActiveCount:
		return fmt.Errorf("ActiveNum is not 1 to %d: %w", MaxActiveCount, ErrInvalidParam)
	case n > MaxUsageIDs:
		return fmt.Errorf("%d ids, at most %d allowed: %w", n, MaxUsageIDs, ErrInvalidParam)
	}
	for _, id := range u.IDs {
		if id == "" || !utf8.ValidString(id) || utf8.RuneCountInString(id) > MaxUsageID {
			return fmt.Errorf("an id is not 1 to %d characters of UTF-8: %w", MaxUsageID, ErrInvalidParam)
		}
	}
	return nil
}

func (u Usage) clients() []usageClient {
	if len(u.IDs) == 0 {
		return []usageClient{{ActiveNum: u.ActiveNum}}
	}
	clients := make([]usageClient, len(u.IDs))
	for i, id := range u.IDs {
		clients[i].ID = id
	}
	return clients
}

// readFailed reads which of the codes sent failed, and whether all that the
// answer lists could be read. Of the list's name only the beginning is known,
// check_fail_, and of its members nothing: they are read as codes, or as objects
// which name one.
func readFailed(data json.RawMessage, sent map[string]bool) (listed map[string]bool, whole bool) {
	data = unwrapJSON(data)
	if len(data) == 0 {
		return nil, true
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(data, &members) != nil {
		return nil, false
	}
	listed, whole = make(map[string]bool), true
	for name, member := range members {
		if strings.HasPrefix(strings.ToLower(strings.ReplaceAll(name, "_", "")), "checkfail") {
			whole = collectCodes(member, sent, listed) && whole
		}
	}
	return listed, whole
}

// collectCodes reports whether all of a list could be read.
func collectCodes(list json.RawMessage, sent, listed map[string]bool) bool {
	list = unwrapJSON(list)
	switch {
	case len(list) == 0, string(list) == "null", string(list) == `""`:
		return true
	case list[0] != '[':
		list = bytes.Join([][]byte{[]byte("["), list, []byte("]")}, nil)
	}
	var items []json.RawMessage
	if json.Unmarshal(list, &items) != nil {
		return false
	}
	whole := true
	for _, item := range items {
		var code scalar
		var d details
		if json.Unmarshal(item, &d) == nil {
			code = scalar(d.first("license", "license_code", "licenseCode", "code"))
		} else {
			_ = json.Unmarshal(item, &code) // what is no scalar is no code
		}
		if !sent[string(code)] {
			whole = false
			continue
		}
		listed[string(code)] = true
	}
	return whole
}
