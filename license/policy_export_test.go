package license

// PolicyRow returns how a policy takes a kind.
func PolicyRow(p Policy, k Kind) (w Weight, firm bool) {
	t, _ := p.table()
	r := t.row(k)
	return r.weight, r.firm
}

// PolicyLimits returns what a policy wants at least and forgives at most; any
// says that it forgives any number.
func PolicyLimits(p Policy) (enough, mayLose int, anyNumber bool) {
	t, _ := p.table()
	return t.enough, t.mayLose, t.mayLose == anyLoss
}
