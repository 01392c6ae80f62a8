package token

import "bytes"

// nameSet is the names that one object has shown so far: a bit for each that
// the shape knows, and the others on the scanner's stack, or in a map once
// they are many.
type nameSet struct {
	s     *scanner
	shape *shape
	base  int // where this object's names begin on the stack
	known uint64
	many  map[string]struct{}
}

// fewNames is how many names are compared one by one.
const fewNames = 16

// add records a name and returns its place in the shape, or -1.
func (n *nameSet) add(name []byte) (at int, f *fault) {
	at, variant := n.shape.find(name)
	switch {
	case variant:
		return -1, malformed("", "a member name differs only in case from one that has a meaning")
	case at >= 0 && n.known&(1<<at) != 0, at < 0 && n.has(name):
		return -1, malformed("", "a member name occurs twice")
	case at >= 0:
		n.known |= 1 << at
		return at, nil
	}
	if n.many != nil {
		n.many[string(name)] = struct{}{}
		return -1, nil
	}
	n.s.names = append(n.s.names, name)
	if len(n.s.names)-n.base > fewNames {
		n.many = make(map[string]struct{})
		for _, old := range n.s.names[n.base:] {
			n.many[string(old)] = struct{}{}
		}
	}
	return -1, nil
}

func (n *nameSet) has(name []byte) bool {
	if n.many != nil {
		_, ok := n.many[string(name)]
		return ok
	}
	for _, old := range n.s.names[n.base:] {
		if bytes.Equal(old, name) {
			return true
		}
	}
	return false
}

// missing names the first required member that did not occur.
func (n *nameSet) missing() *fault {
	if n.shape == nil {
		return nil
	}
	for i, m := range n.shape.members {
		if m.required && n.known&(1<<i) == 0 {
			return malformed(m.name, "is missing")
		}
	}
	return nil
}
