package ops

// This file holds every word of the status page, in both of its languages.

// texts is English and Korean by name. A name of two words is of a kind: what follows the kind comes from elsewhere.
func texts() map[string][2]string { //nolint:funlen // a table
	return map[string][2]string{
		"title": {"roomgate status", "roomgate 상태"}, "language": {"Language", "언어"}, "overview": {"Overview", "개요"},
		"about": {"up %s", "가동 %s"}, "version": {"version %s", "버전 %s"}, "more": {"For machines", "기계용"},

		"well": {"● Well: members are served", "● 정상: 회원이 이용 중입니다"},
		"risk": {"▲ At risk: members are served, but something is missing", "▲ 주의: 이용은 되지만 일부 기능에 문제가 있습니다"},
		"down": {"✕ Down: members get errors", "✕ 장애: 회원 요청이 실패하고 있습니다"}, "since": {"since %s UTC", "%s UTC부터"},
		"failed": {"Failed, last minute", "실패, 최근 1분"}, "five minutes": {"5 min: %s", "5분: %s"}, "worst minute": {"worst %s", "최고 %s"},
		"one of":          {"figures of this replica, one of %d", "이 레플리카의 수치 (전체 %d개 중)"},
		"problem answers": {"failed answers", "실패한 응답"}, "failed before": {"answers that failed within 5 minutes", "최근 5분 안에 실패한 응답"},
		"problem calls":   {"failed calls", "실패한 호출"},
		"problem metrics": {"metrics can't be gathered", "지표를 수집할 수 없음"},
		"subject members": {"members", "회원"}, "subject profiles": {"profiles", "프로필"},
		"column errors": {"Failed", "실패"}, "column failures": {"Failed, −15 min … now", "실패, −15분 … 현재"},
		"column fact": {"What", "항목"}, "column value": {"Value", "값"}, "facts": {"This replica", "이 레플리카"}, "none facts": {"Nothing.", "없음."},
		"fact verification": {"Member tokens are verified", "멤버 토큰 검증"}, "verification local": {"in process", "게이트웨이에서 직접"},
		"verification remote": {"by Glory (check_login)", "Glory에서 (check_login)"}, "fact certificate": {"TLS certificate ends", "TLS 인증서 만료"},
		"fact reload": {"Secrets reloaded", "시크릿 다시 읽음"}, "fact dropped": {"Log lines dropped", "버려진 로그 줄"}, "fact versions": {"Versions in the fleet", "실행 중인 버전"},

		"draining": {"Draining: no new traffic is wanted", "드레인 중: 새 트래픽을 받지 않음"},
		"live":     {"live", "실시간"},
		"lost":     {"not live since {time}", "{time}부터 갱신되지 않음"},
		"as of":    {"as of %s UTC; reload for newer", "%s UTC 기준, 새로 고치면 갱신"},

		"problem redis": {"Redis is down", "Redis 연결 끊김"}, "problem circuit": {"circuit open", "서킷 열림"},
		"problem redis_part":    {"Redis works only in part", "Redis 일부만 동작"},
		"problem verdicts":      {"members are let in by verdicts or profiles that have run out", "만료된 확인 결과나 프로필로 회원을 허용 중"},
		"problem token":         {"no new access token", "새 액세스 토큰을 받지 못함"},
		"problem refused_token": {"access token refused", "액세스 토큰이 거부됨"},
		"problem log":           {"log lines are dropped", "로그 줄이 버려지고 있음"},
		"problem secrets":       {"changed secrets can't be used", "변경된 시크릿을 사용할 수 없음"},

		"requests": {"Requests", "요청"}, "per second": {"%s/s", "초당 %s"}, "in flight": {"In flight", "처리 중"},
		"of most": {"of %s", "최대 %s"}, "refused": {"Refused", "거절"}, "15 minutes": {"15 min", "15분"},
		"redis": {"Redis", "Redis"}, "circuits": {"Circuits", "서킷"}, "replicas": {"Replicas", "레플리카"},
		"tokens": {"Access tokens", "액세스 토큰"}, "of all": {"%d of %d", "%[2]d개 중 %[1]d개"},

		"routes": {"Routes", "경로"}, "upstreams": {"Upstreams", "업스트림"}, "licenses": {"Licenses", "라이선스"},
		"dependencies": {"Redis and circuits", "Redis와 서킷"}, "limits": {"Limits", "제한"},
		"refusals": {"Refusals, 15 min", "거절, 15분"}, "plots": {"plots: from 15 min ago, left, to now, right; the figure beside is the top. Latency: p99 thick, p95 thin, p50 dotted", "그래프: 왼쪽 15분 전부터 오른쪽 현재까지, 옆 숫자는 최댓값. 지연 시간: p99 굵은 선, p95 가는 선, p50 점선"},

		"column route": {"Route", "경로"}, "column upstream": {"Upstream", "업스트림"}, "column rate": {"Requests/s", "요청/초"},
		"column rates": {"Requests/s, −15 min … now", "요청/초, −15분 … 현재"}, "column p50": {"p50", "p50"}, "column p95": {"p95", "p95"},
		"column p99": {"p99", "p99"}, "column latencies": {"p50 ┄ p95 ─ p99 ━, −15 min … now", "p50 ┄ p95 ─ p99 ━, −15분 … 현재"},
		"column license": {"License", "라이선스"}, "column state": {"State", "상태"}, "column age": {"Token age", "토큰 나이"},
		"column expiry": {"Expires in", "만료까지"}, "column error": {"Last error", "최근 오류"},
		"column dependency": {"Name", "이름"}, "column detail": {"Address or error", "주소 또는 오류"},
		"column limit": {"Limit", "제한"}, "column setting": {"Setting", "설정"}, "column now": {"Now", "현재"},
		"column refused": {"Refused, 15 min", "거절, 15분"}, "column reason": {"Reason", "사유"},
		"column count": {"Count", "횟수"}, "column replica": {"Replica", "레플리카"}, "column version": {"Version", "버전"},
		"column uptime": {"Up", "가동"}, "column seen": {"Seen", "확인"},

		"none routes": {"No request yet.", "아직 요청이 없습니다."}, "none upstreams": {"No call yet.", "아직 호출이 없습니다."},
		"none licenses": {"No license.", "라이선스가 없습니다."}, "none limits": {"No limit.", "제한이 없습니다."},
		"none dependencies": {"Nothing.", "없음."}, "none refusals": {"None.", "없음."},
		"none replicas": {"None.", "없음."},

		"peak": {"%[1]s: at most %[2]s in 15 minutes", "%[1]s: 15분간 최대 %[2]s"}, "no route": {"no route", "경로 없음"},
		"this one": {"this one", "현재"}, "ago": {"%s ago", "%s 전"}, "off": {"off", "꺼짐"},
		"state empty": {"no token yet", "토큰 없음"}, "state fresh": {"fresh", "유효"}, "state due": {"refreshing", "갱신 중"},
		"state failing": {"failing", "실패"}, "state up": {"up", "연결됨"}, "state down": {"down", "끊김"},
		"state closed": {"closed", "닫힘"}, "state open": {"open", "열림"}, "state half-open": {"half-open", "반열림"},
		"role member": {"member", "멤버"}, "role owner": {"owner", "소유자"},
		"error transient": {"no usable answer", "사용할 수 있는 응답 없음"}, "error throttled": {"throttled", "요청 과다"},
		"error garbage": {"unreadable answer", "읽을 수 없는 응답"}, "error refused": {"license refused", "라이선스 거부됨"},

		"limit login_limit":   {"Login and join, per address", "로그인·가입, 주소별"},
		"limit account_limit": {"Login, per account", "로그인, 계정별"},
		"limit member_limit":  {"Rooms, per member", "룸, 멤버별"}, "limit overload": {"Requests in flight", "처리 중 요청"},
		"limit body": {"Body, bytes", "본문, 바이트"}, "limit header": {"Header, bytes", "헤더, 바이트"},

		"reason malformed": {"malformed request", "잘못된 요청"},
		"reason body":      {"body too large or unreadable", "본문 초과 또는 읽기 불가"},
		"reason header":    {"header too large", "헤더 초과"}, "reason no_route": {"no such route", "없는 경로"},
		"reason origin": {"preflight of another origin", "허용되지 않은 출처의 사전 요청"},
		"reason method": {"method not allowed", "허용되지 않는 메서드"}, "reason no_token": {"no member token", "멤버 토큰 없음"},
		"reason bad_token": {"invalid member token", "잘못된 멤버 토큰"},
		"reason forbidden": {"no license admits the member", "허용하는 라이선스 없음"},
		"reason denied":    {"on the deny list", "차단 목록"}, "reason login_limit": {"over the login limit", "로그인 제한 초과"},
		"reason account_limit": {"over the account limit", "계정 제한 초과"},
		"reason member_limit":  {"over the member limit", "멤버 제한 초과"},
		"reason overload":      {"too many in flight", "동시 요청 초과"}, "reason circuit": {"circuit open", "서킷 열림"},
		"reason no_credential":      {"no access token", "액세스 토큰 없음"},
		"reason refused_credential": {"access token or license refused", "액세스 토큰 또는 라이선스 거부됨"},
		"reason upstream":           {"upstream failed", "업스트림 실패"}, "reason timeout": {"upstream too slow", "업스트림 시간 초과"},
		"reason internal": {"internal error", "내부 오류"},

		"lane": {"Fast lane, 15 min", "패스트 레인, 15분"}, "none lane": {"No request yet.", "아직 요청이 없습니다."},
		"lane off":    {"Off: FAST_LANE is false.", "꺼짐: FAST_LANE이 false입니다."},
		"column lane": {"Requests", "요청"}, "column share": {"Share", "비율"},
		"lane taken": {"answered by the lane", "패스트 레인에서 응답"}, "lane method": {"not a GET", "GET이 아님"},
		"lane target": {"other form of target or version", "다른 대상 형식 또는 버전"}, "lane field": {"unusual header", "특수한 헤더"},
		"lane body": {"with a body", "본문 있음"}, "lane size": {"long header", "긴 헤더"},
		"lane connection": {"other Connection", "다른 Connection"}, "lane path": {"not a room", "룸이 아님"},
		"lane authorization": {"no bearer token", "Bearer 토큰 없음"}, "lane credential": {"forged credential", "위조된 자격 증명"},
		"lane repeated": {"repeated header", "반복된 헤더"}, "lane tracing": {"tracing is on", "추적 켜짐"},

		"days hours": {"%dd %02dh", "%d일 %d시간"}, "hours minutes": {"%dh %02dm", "%d시간 %d분"},
		"minutes seconds": {"%dm %02ds", "%d분 %d초"}, "seconds": {"%ds", "%d초"},
	}
}
