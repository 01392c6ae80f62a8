package license

// Policy names a way of matching a machine with a binding. What a name stands
// for is frozen: a binding that was signed under it is judged by shipped
// products for years. The plain names are version one; another way of matching
// gets a name of its own, such as "fuzzy-2". docs/fingerprint.md shows the
// tables; a test compares them with these.
type Policy string

// The binding policies.
const (
	// PolicyExact wants what PolicyFuzzy wants, and that of the administrator's
	// id, the system's id, disks and network cards at most one kind is lost.
	PolicyExact Policy = "exact"
	// PolicyFuzzy wants one strong or two medium components to be the same.
	PolicyFuzzy Policy = "fuzzy"
	// PolicyLoose wants any one component to be the same, the processor aside.
	PolicyLoose Policy = "loose"
	// PolicyNone binds to no machine.
	PolicyNone Policy = "none"
)

// Known reports whether this version can judge by the policy.
func (p Policy) Known() bool {
	_, known := p.table()
	return known || p == PolicyNone
}

// Weight returns how much it says under the policy that a component of a kind
// is the same.
func (p Policy) Weight(k Kind) Weight {
	t, _ := p.table()
	return t.row(k).weight
}

// Weight is how much it says of a machine that one of its components is the same.
type Weight int

// The weights of components.
const (
	WeightNone   Weight = 0 // says nothing: many machines share it
	WeightMedium Weight = 1
	WeightStrong Weight = 2
)

// String returns none, medium or strong.
func (w Weight) String() string {
	switch w {
	case WeightStrong:
		return "strong"
	case WeightMedium:
		return "medium"
	case WeightNone:
	}
	return "none"
}

// MarshalText returns what String does.
func (w Weight) MarshalText() ([]byte, error) { return []byte(w.String()), nil }

// UnmarshalText reads what MarshalText wrote; any other word is WeightNone.
func (w *Weight) UnmarshalText(text []byte) error {
	*w = WeightNone
	for _, known := range []Weight{WeightMedium, WeightStrong} {
		if string(text) == known.String() {
			*w = known
		}
	}
	return nil
}

// table is a policy: how each kind counts, and how much is wanted.
type table struct {
	rows   []row // in the order of Kinds
	enough int   // what the weights of the kinds that are the same must come to
	// mayLose is how many of the firm kinds may be lost, that is changed or
	// absent. One that changed may only where two other kinds are the same.
	mayLose int
}

// row is how a policy takes one kind.
type row struct {
	kind   Kind
	weight Weight
	firm   bool // counts against a machine when it is lost
}

// anyLoss is as many as there are kinds.
const anyLoss = 7

// The frozen tables. Whether board serial and system UUID can be read depends
// on who reads, and new firmware may change them: they only ever add certainty,
// so no policy holds their loss against a machine. The processor's model never
// decides anything.
var (
	exact1 = table{enough: 2, mayLose: 1, rows: []row{
		{KindCustom, WeightStrong, true},
		{KindOS, WeightStrong, true},
		{KindUUID, WeightStrong, false},
		{KindDisk, WeightStrong, true},
		{KindMAC, WeightMedium, true},
		{KindBoard, WeightMedium, false},
		{KindCPU, WeightNone, false},
	}}
	fuzzy1 = table{enough: 2, mayLose: anyLoss, rows: []row{
		{KindCustom, WeightStrong, false},
		{KindOS, WeightStrong, false},
		{KindUUID, WeightStrong, false},
		{KindDisk, WeightStrong, false},
		{KindMAC, WeightMedium, false},
		{KindBoard, WeightMedium, false},
		{KindCPU, WeightNone, false},
	}}
	loose1 = table{enough: 2, mayLose: anyLoss, rows: []row{
		{KindCustom, WeightStrong, false},
		{KindOS, WeightStrong, false},
		{KindUUID, WeightStrong, false},
		{KindDisk, WeightStrong, false},
		{KindMAC, WeightStrong, false},
		{KindBoard, WeightStrong, false},
		{KindCPU, WeightNone, false},
	}}
)

// table returns what the policy stands for; known is false where it binds to no
// machine or is not known.
func (p Policy) table() (t table, known bool) {
	switch p {
	case PolicyExact:
		return exact1, true
	case PolicyFuzzy:
		return fuzzy1, true
	case PolicyLoose:
		return loose1, true
	case PolicyNone:
	}
	return table{}, false
}

// row returns how the table takes a kind: not at all where it does not name it.
func (t table) row(k Kind) row {
	for _, r := range t.rows {
		if r.kind == k {
			return r
		}
	}
	return row{kind: k}
}
