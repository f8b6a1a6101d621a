"""The stems of common Korean verbs and adjectives: a bare ending is one where it stands behind one of these.

`바뀐` is a form of 바뀌다 and `버튼` none of 버트다: nothing but knowing the verb tells. The list holds what
teams write about; a verb that it lacks is still known by the endings that only verbs have. Pure.
"""

# Left out are stems that many other words begin or end with: 가지, 나가, 다르, 들이, 이기, 정하 (설정하).
_COMMON_STEMS = """
    가까워지 가깝 가라앉 가르치 가리키 가볍 가져가 가져오 갈라지 갈아엎 갈아타 갖추 거두 건너뛰 건드리 걸러내
    걸리 게으르 견디 고르 고맙 고치 고프 골라내 괜찮 괴롭 귀엽 귀찮 기다리 기쁘 기울이 까다롭 까먹 깨닫
    깨뜨리 깨지 꺼내 꺼지 꾸미 끄집어내 끊기 끊어지 끌어오 끝나 끝내 끼치 나누 나뉘 나빠지 나쁘 나아지 나타나
    나타내 날카롭 남기 낯설 내려가 내려받 내려오 내리 내보내 넘기 넘어가 넘어오 넘치 놀라 놀랍 높이 놓이 놓치
    누르 눌리 느끼 느려지 느리 늘리 늘어나 늦추 다녀오 다듬 다루 다치 다투 닫히 달라지 담그 담기 더러워지
    더럽 던지 덧붙이 덮어쓰 데려오 도와주 돌려놓 돌려받 돌려주 돌리 돌아가 돌아오 되돌리 되돌아가 되살리 두껍
    두드리 두렵 뒤집 뒤집히 드러나 드러내 들어가 들어오 들여다보 따라가 따라오 따라잡 떠나 떠오르 떠올리
    떨어뜨리 떨어지 똑같 뚫리 뜨겁 뜯어보 띄우 마무르 마시 마치 막히 만나 만들 만지 망가뜨리 망가지 맞추 맡기
    매기 머무르 멀어지 멈추 모르 모으 모이 모자라 몰려들 몰리 무겁 무너뜨리 무너지 무섭 묶이 묻히 물려받
    물어보 미루 미치 밀리 밀어내 밀어넣 바꾸 바뀌 바로잡 바쁘 반갑 받아들이 받아오 밝혀내 밝히 버리 버티
    번거롭 벌리 벌어지 벗기 벗어나 보내 보여주 보이 부드럽 부딪치 부딪히 부러지 부럽 부르 부서지 부수 부풀리
    불러내 불러오 붙들 붙이 붙잡 비우 빌리 빠뜨리 빠르 빠지 빨라지 빼내 빼놓 빼먹 뽑아내 뿌리 사귀 사라지
    살려내 살리 살아나 살아남 살펴보 새기 새롭 새어나가 생기 서두르 섞이 세우 솟구치 숨기 쉬워지 스치 슬프
    시끄럽 식히 싸우 쌓이 쏟아지 쓰이 아깝 아끼 아름답 아쉽 아프 안타깝 알려주 알리 알아내 알아듣 알아보
    알아차리 앞당기 앞서가 어긋나 어둡 어려워지 어렵 어울리 어지럽 없애 없어지 엉키 여쭙 열리 예쁘 올라가
    올라오 올리 옮겨가 옮기 외우 우습 움직이 이루어지 이뤄지 이어지 익히 일어나 일으키 읽히 잃어버리 입히
    잊어버리 자르 자연스럽 잘라내 잘리 잠그 잠기 잡아내 잡히 저지르 적히 제치 좁히 주고받 줄어들 줄이 즐겁
    지겹 지나가 지나치 지내 지우 지치 지켜보 지키 집어넣 쪼개 쪼개지 찌르 찍히 찢어지 차갑 차리 찾아가 찾아내
    찾아보 챙기 쳐내 치우 커지 키우 터뜨리 터지 털어놓 튀어나오 틀리 파고들 펼쳐지 펼치 풀리 풀어내 합쳐지
    합치 해롭 헤매 헷갈리 흐르 흐트러지 흘러가 흘리 흩어지 힘겹 힘들
"""
COMMON_STEMS = frozenset(_COMMON_STEMS.split())

# Stems of one syllable that begin hardly any word but their own forms.
_STEM_SYLLABLES = """
    갖 겪 굵 굶 긁 깎 꺾 꼽 꽂 끊 낚 낡 넓 넣 놓 늙 늦 닦 닫 닮 덮 뚫 뜯 많 맑 맡 묶 믿 받 밝 밟 벗 볶 붙 뽑
    섞 싫 쌓 쏟 씹 씻 앉 얇 얕 얻 없 엎 옮 읽 잃 잊 짧 찢 찾 핥 훑 흩
"""
STEM_SYLLABLES = frozenset(_STEM_SYLLABLES.split())
