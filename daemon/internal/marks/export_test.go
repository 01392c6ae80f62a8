package marks

// SetMax sets how long a file of lines gets, in bytes.
func (m *Marks) SetMax(n int64) { m.max = n }
