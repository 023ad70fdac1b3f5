package authz

// truth is the answer of one part of a rule. The order matters: "and" is the least of its parts, "or" the greatest.
type truth uint8

const (
	no   truth = iota
	open       // it depends on something the call has not said yet
	yes
)

func truthOf(b bool) truth {
	if b {
		return yes
	}
	return no
}
