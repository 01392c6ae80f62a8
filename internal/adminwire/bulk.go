package adminwire

import "time"

// MaxBulk is the largest BulkIssue that the daemon reads, in bytes.
const MaxBulk = 4 << 20

// BulkIssue asks for one licence a row: all of them or none.
type BulkIssue struct {
	Rows []BulkRow `json:"rows" minItems:"1" maxItems:"1000"`
}

// BulkRow asks for one licence. It is an Issue without a count.
type BulkRow struct {
	Product   string         `json:"product" maxLength:"128"`
	Customer  string         `json:"customer,omitempty" maxLength:"256"`
	Order     string         `json:"order,omitempty" maxLength:"128"`
	ExpiresAt *time.Time     `json:"expires_at,omitempty"`
	For       string         `json:"for,omitempty" doc:"A duration from now, such as 365d or 36h." maxLength:"32"`
	Perpetual bool           `json:"perpetual,omitempty"`
	Machines  int            `json:"machines,omitempty" minimum:"0"`
	Features  map[string]any `json:"features,omitempty" doc:"Name to true, a number or a string; false takes a feature of the product away."`
	Phases    Phases         `json:"phases,omitzero" doc:"Instead of those of the product."`
	Overage   *int           `json:"overage,omitempty" doc:"How many machines more are let in, instead of the product's." minimum:"0"`
	Trial     bool           `json:"trial,omitempty" doc:"To try the product out. Without an end it lasts as long as the product says."`
}

// Issue is the row as a call of its own.
func (r BulkRow) Issue() Issue {
	return Issue{
		Product: r.Product, Customer: r.Customer, Order: r.Order, ExpiresAt: r.ExpiresAt, For: r.For, Perpetual: r.Perpetual,
		Machines: r.Machines, Features: r.Features, Phases: r.Phases, Overage: r.Overage, Trial: r.Trial,
	}
}

// BulkIssued holds what was made, in the order of the rows, or what is wrong with
// them; never both.
type BulkIssued struct {
	Licenses []BulkLicense `json:"licenses" doc:"What was made, in the order of the rows; empty where a row is wrong."`
	Errors   []BulkError   `json:"errors" doc:"The rows that are wrong; with one of them nothing was made."`
}

// BulkLicense is a new licence in short.
type BulkLicense struct {
	ID        string     `json:"id"`
	Code      string     `json:"code,omitempty" doc:"The code in clear, this once; absent where nothing was made (dry run)."`
	ExpiresAt *time.Time `json:"expires_at" doc:"The end; null for a perpetual licence."`
}

// BulkError says what is wrong with a row.
type BulkError struct {
	Row    int    `json:"row" doc:"Its place among the rows, from 0."`
	Reason string `json:"reason"`
	Field  string `json:"field,omitempty"`
	Detail string `json:"detail"`
}
