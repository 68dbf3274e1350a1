package ops

// texts returns the English and Korean texts of the page by name. A name of two words is a kind and a name from elsewhere; see
// names.
func texts() map[string][2]string { //nolint:funlen // a table
	all := map[string][2]string{
		"title": {"roomgate status", "roomgate 상태"}, "language": {"Language", "언어"}, "overview": {"Overview", "개요"},
		"about": {"up %s", "가동 시간 %s"}, "version": {"version %s", "버전 %s"}, "more": {"For programs", "프로그램용 주소"},
		"one of":       {"figures of this replica, one of %d", "전체 레플리카 %d개 중 이 레플리카의 수치"},
		"the only one": {"figures of this replica, the only one", "레플리카 1개(이 레플리카)의 수치"},
		"one of some":  {"figures of this replica; the others can't be seen", "이 레플리카만의 수치(다른 레플리카는 확인 불가)"},

		"well":  {"● Well: members are served", "● 정상: 회원 요청에 문제없이 응답하고 있습니다"},
		"risk":  {"▲ At risk: members are served, but something is missing", "▲ 주의: 회원은 이용할 수 있지만 일부에 문제가 있습니다"},
		"down":  {"✕ Down: members get errors", "✕ 장애: 회원 요청이 실패하고 있습니다"},
		"since": {"since %s UTC", "%s UTC부터"}, "failed before": {"answers that failed within 5 minutes", "최근 5분 안에 실패한 응답"},
		"draining": {"Draining: no new traffic is wanted", "종료 준비 중: 새 트래픽을 받지 않음"},
		"live":     {"live", "실시간"}, "lost": {"not live since {time}", "{time}부터 갱신되지 않음"},
		"as of": {"as of %s UTC. Without scripts this page shows no more; /status says everything as JSON.", "%s UTC 기준. 스크립트를 켜지 않으면 여기까지만 표시됩니다. 전체 내용은 /status(JSON)에 있습니다."},

		"change well": {"● Well", "● 정상"}, "change risk": {"▲ At risk", "▲ 주의"}, "change down": {"✕ Down", "✕ 장애"},
		"over": {"over: %s", "해소: %s"}, "changes of state": {"change of state", "상태 변화"}, "utc": {"times are UTC", "시각은 UTC 기준"},
		"changes": {"Changes of state, 15 min", "상태 변화, 최근 15분"}, "none changes": {"None.", "없음."},
		"column time": {"Time (UTC)", "시각(UTC)"}, "column what": {"What", "내용"},

		"requests": {"Requests", "요청"}, "per second": {"%s/s", "초당 %s건"}, "in flight": {"In flight", "처리 중"},
		"failed": {"Failed, last minute", "실패율, 최근 1분"}, "five minutes": {"5 min: %s", "5분: %s"}, "worst minute": {"worst %s", "최대 %s"},
		"refused": {"Refused", "거절"}, "15 minutes": {"15 min", "최근 15분"}, "tokens": {"Access tokens", "액세스 토큰"},
		"redis": {"Redis", "Redis"}, "circuits": {"Circuits", "서킷"}, "replicas": {"Replicas", "레플리카"},
		"of all": {"%d of %d", "%d / %d"}, "whole fleet": {"failed, all: %s", "전체 실패율: %s"},
		"others unknown": {"others can't be seen", "다른 레플리카는 확인 불가"}, "some versions": {"%d versions", "버전 %d종"},

		"routes": {"Routes", "경로"}, "upstreams": {"Upstreams", "업스트림"}, "licenses": {"Licenses", "라이선스"},
		"dependencies": {"Redis and circuits", "Redis와 서킷"}, "limits": {"Limits", "제한"}, "refusals": {"Refusals, 15 min", "거절, 최근 15분"},
		"lane": {"Fast lane, 15 min", "패스트 레인, 최근 15분"}, "facts": {"This replica", "이 레플리카"},
		"none routes": {"No request yet.", "아직 요청이 없습니다."}, "none upstreams": {"No call yet.", "아직 호출이 없습니다."},
		"none licenses": {"No license.", "라이선스가 없습니다."}, "none limits": {"No limit.", "제한이 없습니다."},
		"none dependencies": {"Nothing.", "없음."}, "none refusals": {"None.", "없음."}, "none replicas": {"None.", "없음."},
		"none facts": {"Nothing.", "없음."}, "none lane": {"No request yet.", "아직 요청이 없습니다."}, "lane off": {"off (FAST_LANE=false)", "꺼짐(FAST_LANE=false)"},

		"column route": {"Route", "경로"}, "column upstream": {"Upstream", "업스트림"}, "column rate": {"Requests/s", "초당 요청"},
		"column rates": {"Requests/s, 15 min", "초당 요청, 15분"}, "column errors": {"Failed", "실패율"}, "column failures": {"Failed, 15 min", "실패율, 15분"},
		"column p50": {"p50", "p50"}, "column p95": {"p95", "p95"}, "column p99": {"p99", "p99"}, "column latencies": {"Latency, 15 min", "지연 시간, 15분"},
		"column license": {"License", "라이선스"}, "column state": {"State", "상태"}, "column age": {"Token age", "발급 후 경과"},
		"column expiry": {"Expires in", "만료까지"}, "column error": {"Last error", "최근 오류"}, "column next": {"Next try", "다음 시도"},
		"column dependency": {"Name", "이름"}, "column detail": {"Address or error", "주소 또는 오류"},
		"column limit": {"Limit", "제한"}, "column setting": {"Setting", "설정"}, "column now": {"Now", "현재"},
		"column refused": {"Refused, 15 min", "거절, 15분"}, "column reason": {"Reason", "사유"}, "column count": {"Count", "횟수"},
		"column replica": {"Replica", "레플리카"}, "column version": {"Version", "버전"}, "column uptime": {"Up", "가동 시간"},
		"column seen": {"Seen", "마지막 확인"}, "column fact": {"What", "항목"}, "column value": {"Value", "값"},
		"column lane": {"Requests", "요청"}, "column share": {"Share", "비율"},

		"peak":      {"%[1]s: %[2]s; at most %[3]s in 15 minutes. Use the arrow keys to read values", "%[1]s: %[2]s, 최근 15분간 최대 %[3]s. 화살표 키로 시점을 옮깁니다"},
		"top":       {"max %s", "최대 %s"},
		"unit rate": {"{n}/s", "초당 {n}건"}, "unit ms": {"{n} ms", "{n} ms"}, "unit percent": {"{n}%", "{n}%"},
		"no route": {"no route", "경로 없음"}, "this one": {"this one", "이 레플리카"}, "ago": {"%s ago", "%s 전"}, "in": {"in %s", "%s 후"},
		"off": {"off", "꺼짐"}, "now": {"under way", "시도 중"}, "not told": {"unknown", "알 수 없음"}, "all together": {"All together", "전체"},
		"others hidden": {"The other replicas report through Redis, which isn't available now.", "다른 레플리카의 수치는 Redis를 통해 전해지는데, 지금은 Redis를 사용할 수 없습니다."},
		"try now": {
			"A failing license is retried automatically as long as members need it. To retry now, also with changed keys, run kill -HUP %d on this replica (docker kill -s HUP).",
			"실패한 라이선스는 회원 요청이 있는 동안 자동으로 다시 시도합니다. 지금 바로 시도하고 바뀐 키도 읽으려면 이 레플리카에서 kill -HUP %d (docker kill -s HUP)을 실행하세요.",
		},

		"fact verification": {"Member tokens are verified", "회원 토큰 검증"}, "fact certificate": {"TLS certificate ends", "TLS 인증서 만료"},
		"fact clock": {"Clock", "시계"}, "fact reload": {"Secrets and certificate read again", "시크릿·인증서 다시 읽기"},
		"fact lane": {"Answered by the fast lane, 15 min", "패스트 레인에서 응답, 최근 15분"}, "fact dropped": {"Log lines dropped", "버려진 로그 줄"},
		"fact versions":       {"Versions in the fleet", "실행 중인 버전"},
		"verification local":  {"local: in process, with Glory's secret", "로컬: 게이트웨이가 Glory의 시크릿으로 직접 검증"},
		"verification remote": {"remote: by Glory (check_login)", "원격: Glory에 확인(check_login)"},
		"no certificate":      {"none: no TLS", "없음(TLS 미사용)"}, "expired": {"expired", "만료됨"},
		"clock same": {"same as Redis's clock", "Redis 시계와 일치"}, "clock alone": {"Redis's clock is unknown", "Redis 시계는 알 수 없음"},
		"clock ahead": {"Redis's clock is %s ahead", "Redis 시계가 %s 빠름"}, "clock behind": {"Redis's clock is %s behind", "Redis 시계가 %s 느림"},
		"never reloaded": {"not since the start", "시작 후 없음"}, "reload ok": {"in use", "적용됨"}, "reload failed": {"failed; the old ones stay in use", "적용 실패(이전 값 사용 중)"},

		"days hours": {"%dd %02dh", "%d일 %d시간"}, "hours minutes": {"%dh %02dm", "%d시간 %d분"},
		"minutes seconds": {"%dm %02ds", "%d분 %d초"}, "seconds": {"%ds", "%d초"},
	}
	for name, text := range names() {
		all[name] = text
	}
	return all
}
