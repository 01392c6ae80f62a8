// Package proofpage makes the page of a proof of delivery: one HTML file in
// Chinese and English, to be printed or uploaded, that needs nothing from
// elsewhere and runs nothing. It holds the signed form that it shows, as PEM
// blocks, so that token.ParseDeliveryFile reads the page itself.
package proofpage

import (
	"bytes"
	_ "embed" // the template
	"encoding/hex"
	"fmt"
	"html/template"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/license/token"
)

//go:embed proof.html
var page string

// Render makes the page of a proof. It judges no signature.
func Render(f token.DeliveryFile) ([]byte, error) {
	d, err := token.PeekDelivery(f.Delivery)
	if err != nil {
		return nil, err
	}
	t, err := template.New("proof").Funcs(template.FuncMap{
		"instant": instant, "hex": hex.EncodeToString,
	}).Parse(page)
	if err != nil {
		return nil, fmt.Errorf("read the template of the proof: %w", err)
	}
	var out bytes.Buffer
	if err := t.Execute(&out, view{Delivery: d, PEM: string(f.PEM()), Rows: rows(d)}); err != nil {
		return nil, fmt.Errorf("make the page of the proof: %w", err)
	}
	return out.Bytes(), nil
}

// view is what the template shows.
type view struct {
	token.Delivery
	PEM  string
	Rows []row
}

// row is one fact; its value is empty where it is not known.
type row struct {
	Chinese, English, Value string
	Code                    bool // set in a fixed width
}

func rows(d token.Delivery) []row {
	code := ""
	if d.CodeLast4 != "" {
		code = "…" + d.CodeLast4
	}
	end := instant(d.ExpiresAt)
	if end == "" {
		end = "永久 / perpetual"
	}
	all := []row{
		{"订单号", "Order", d.Order, true},
		{"订单行", "Order line", d.Line, true},
		{"销售渠道", "Channel", d.Channel, false},
		{"实例", "Instance", d.Instance, true},
		{"客户", "Customer", d.Customer, false},
		{"产品", "Product", d.Product, false},
		{"许可证编号", "Licence", d.LicenseID, true},
		{"授权码（末四位）", "Code (its end)", code, true},
		{"下单时间", "Ordered", instant(d.OrderedAt), false},
		{"许可证生成时间", "Licence made", instant(d.LicensedAt), false},
		{"激活时间", "Activated", instant(d.ActivatedAt), false},
		{"交付时间", "Delivered", instant(d.DeliveredAt), false},
		{"到期时间", "Ends", end, false},
		{"许可证文本生成时间", "Text made", instant(d.TextAt), false},
		{"许可证文本 SHA-256", "Text, SHA-256", hex.EncodeToString(d.Text), true},
	}
	var known []row
	for _, r := range all {
		// On one line, so that nothing shown can look like one of the blocks below.
		if r.Value = strings.Join(strings.Fields(r.Value), " "); r.Value != "" {
			known = append(known, r)
		}
	}
	return known
}

// instant shows a time in the zone of the marketplace's home beside UTC.
func instant(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	const layout = "2006-01-02 15:04:05"
	return t.UTC().Format(layout) + " UTC (" + t.In(time.FixedZone("", 8*60*60)).Format(layout+" -07:00") + ")"
}
