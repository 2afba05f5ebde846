"""The words the rules speak of, folded (no case, no accents), by what they do in a sentence.

Only data: `rules.py` says what follows from a word. A word may be in several classes. `é` (is) is the one
word that keeps its accent.
"""

from collections.abc import Iterable

ABBREVIATIONS = frozenset(
    [
        "art",
        "atend",
        "av",
        "cel",
        "d",
        "dr",
        "dra",
        "end",
        "etc",
        "ex",
        "exa",
        "max",
        "min",
        "n",
        "no",
        "nro",
        "num",
        "obs",
        "ocor",
        "prot",
        "protoc",
        "r",
        "ref",
        "reg",
        "sa",
        "solic",
        "sr",
        "sra",
        "srs",
        "tel",
        "telef",
        "v",
    ]
)


def _regular(stem: str, endings: str) -> Iterable[str]:
    """Forms of a verb in -ar. `c` and `g` are written `qu` and `gu` before `e`, `ç` (here `c+`) stays."""
    soft = stem.removesuffix("+")
    if not stem.endswith("+") and stem[-1] in "cg":
        soft = stem[:-1] + ("qu" if stem[-1] == "c" else "gu")
    for ending in endings.split():
        yield (soft if ending[0] == "e" else stem.removesuffix("+")) + ending


def _verbs(stems: str, endings: str, irregular: str = "") -> frozenset[str]:
    regular = (form for stem in stems.split() for form in _regular(stem, endings))
    return frozenset([*regular, *irregular.split()])


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_I_DID, _WE_DID, _IT_DID, _THEY_DID = "ei", "amos amo", "ou", "aram"
_DONE, _DOING, _TO_DO, _I_DO = "ado ada ados adas", "ando", "ar", "o"

# Verbs that bring a ticket into being. `_FORMAL` ones say so whatever their object is.
_FORMAL = "registr protocol formaliz oficializ"
_OPENING = f"{_FORMAL} cri ger lanc+ cadastr instaur"
_MAKING = "efetu realiz finaliz efetiv complet execut process providenci inici"
# Verbs that pass a request, a case or a customer on.
_SENDING = "encaminh envi mand repass remet"
_MOVING = (
    "direcion redirecion encaminh repass pass entreg escalon escal conect coloc realoc jog lev mand mov"
    " transport deix"
)
_TRANSFERRING = "direcion redirecion encaminh conect realoc"
_CALLING = "cham acion convoc aloc design mobiliz"

CLASSES: dict[str, frozenset[str]] = {
    # ------------------------------------------------------------------------------------------- tickets
    "ticket": _words("ticket tickets tiquete tkt chamado chamados ordem ordens call"),
    "protocolo": _words("protocolo protocolos"),
    "request": _words(
        "pedido pedidos solicitacao solicitacoes requisicao requisicoes demanda reclamacao"
        " reclamacoes queixa queixas ocorrencia ocorrencias manifestacao denuncia contestacao"
        " requerimento incidente processo tratativa disputa investigacao"
    ),
    "registry": _words(
        "registro registros abertura lancamento cadastramento formalizacao emissao criacao geracao"
        " inclusao instauracao"
    ),
    "case": _words(
        "caso casos situacao problema relato questao tudo isso assunto atendimento sugestao elogio"
        " necessidade"
    ),
    "detail": _words(
        "informacao informacoes pagamento defeito falha lentidao queda detalhes ocorrido insatisfacao"
        " interesse"
    ),
    "service": _words(
        "visita cancelamento estorno mudanca troca reparo verificacao analise religacao desbloqueio"
        " reembolso instalacao retirada upgrade alteracao baixa manutencao vistoria devolucao"
        " ressarcimento agendamento tecnico reativacao religue desconto migracao revisao ativacao"
        " contestacao downgrade recolhimento prorrogacao negociacao liberacao"
    ),
    "opened_i": _verbs(_OPENING, _I_DID, "abri reabri emiti inseri"),
    "opened_we": _verbs(_OPENING, _WE_DID, "abrimos abrimo reabrimos emitimos inserimos"),
    "formal_i": _verbs(_FORMAL, f"{_I_DID} {_WE_DID}"),
    "opened_it": _verbs(_OPENING, _IT_DID, "abriu reabriu emitiu inseriu"),
    "opened_they": _verbs(_OPENING, _THEY_DID, "abriram emitiram"),
    "opened": _verbs(
        f"{_OPENING} efetiv consign averb despach dispar catalog autu",
        _DONE,
        "posto lavrado lavrada acionado acionada aberto aberta abertos abertas reaberto reaberta emitido"
        " emitida inserido inserida incluido incluida",
    ),
    "formal": _verbs(_FORMAL, _DONE, "documentado documentada consignado consignada"),
    "to_open": _verbs(_OPENING, _TO_DO, "abrir reabrir emitir inserir incluir"),
    "made_i": _verbs(_MAKING, f"{_I_DID} {_WE_DID}", "fiz fizemos conclui concluimos procedi procedemos"),
    "made_it": _verbs(_MAKING, _IT_DID, "fez"),
    "made": _verbs(_MAKING, _DONE, "feito feita feitos feitas concluido concluida confirmado confirmada"),
    "to_make": _verbs(_MAKING, _TO_DO, "fazer concluir"),
    "sent_i": _verbs(
        _SENDING, f"{_I_DID} {_WE_DID}", "remeti submeti dirigi passei passamos direcionei subi transmiti"
    ),
    "sent": _verbs(
        _SENDING,
        _DONE,
        "entregue recebido recebida acolhido acolhida recepcionado recepcionada aceito aceita"
        " escalado escalada transferido transferida remetido remetida submetido submetida direcionado"
        " direcionada passado passada",
    ),
    "asked_i": _words("solicitei solicitamos requisitei pedi"),
    "asked": _words("pedida solicitado solicitada requisitado requisitada"),
    "accomplished": _words(
        "mandei acabo acabei acabamos terminei consegui conseguimos pude pudemos tive precisei"
        " resolvi decidi aproveitei tratei optei tomei adiantei"
    ),
    "dei": _words("dei demos"),
    "deixei": _words("deixei deixamos"),
    "went": _words("saiu entrou subiu seguiu seguiram chegou foi"),
    "went_in": _words("saiu entrou subiu nasceu"),
    "entrada": _words("entrada"),
    "liberdade": _words("logo liberdade la cuidado"),
    "existing": _words("existe consta constam tem ha temos tenho possui"),
    "progress": _words(
        "fila mao maos andamento analise tratamento sistema processamento tratativa execucao encaminhamento"
    ),
    # ----------------------------------------------------------------------------------------- transfers
    # These move a customer wherever they are sent; the others need a person or a sector as their goal.
    "transferred_i": _verbs(_TRANSFERRING, f"{_I_DID} {_WE_DID}", "transferi transferimos"),
    "transferring": _verbs(_TRANSFERRING, _DOING, "transferindo"),
    "transferred": _verbs(_TRANSFERRING, _DONE, "transferido transferida transferidos transferidas"),
    "to_transfer": _verbs(_TRANSFERRING, _TO_DO, "transferir"),
    "moved_i": _verbs(
        _MOVING,
        f"{_I_DID} {_WE_DID}",
        "adicionei inseri remanejei troquei mudei subi liguei movi toquei atribui deleguei pus botei"
        " transferi transferimos remeti",
    ),
    "moving": _verbs(_MOVING, _DOING, "transferindo pondo botando enviando"),
    "moved": _verbs(
        _MOVING,
        _DONE,
        "adicionado adicionada inserido inserida entregue movido movida subido remetido remetida"
        " atribuido atribuida delegado delegada designado designada transferido transferida"
        " transferidos transferidas",
    ),
    "moved_it": _verbs(_MOVING, _IT_DID, "transferiu"),
    "move": _verbs(_MOVING, _I_DO, "transfiro ponho boto"),
    "to_move": _verbs(_MOVING, _TO_DO, "transferir por botar"),
    "transferencia": _words(
        "transferencia encaminhamento direcionamento redirecionamento transbordo repasse handoff handover"
        " transfer escalonamento"
    ),
    "started": _words(
        "iniciada iniciado andamento autorizada aceita aceito completa ativada disparada acionada ok"
    ),
    "called_i": _verbs(_CALLING, f"{_I_DID} {_WE_DID}"),
    "calling": _verbs(_CALLING, _DOING),
    "called": _verbs(_CALLING, _DONE),
    "human": _words(
        "atendente atendentes humano humana pessoa alguem especialista especialistas consultor"
        " consultora supervisor supervisora colega colegas gerente analista tecnico operador operadora"
        " agente rapaz moca menina menino responsavel coordenador coordenadora profissional galera"
        " time equipe pessoal parceiro parceira companheiro guri guria chefe dono doutor moco tecnicos"
    ),
    "sector": _words(
        "financeiro financeira suporte comercial recepcao cobranca equipe time setor departamento"
        " area pessoal turma ouvidoria retencao juridico administrativo vendas povo tecnica n2 n3"
        " nivel central plantao sac noc gerencia chefia coordenacao diretoria supervisao engenharia"
        " pos posvenda backoffice cancelamento agendamento telefonia logistica faturamento"
        " relacionamento"
    ),
    "queue": _words("fila espera contato"),
    "crm": _words("sistema crm plataforma painel base agenda programacao"),
    "there": _words(
        "rodando correndo priorizada la ai aqui feito pronto ativo valendo garantido confirmado ok"
        " encaminhado andando agendado agendada priorizado aprovado despachado ativa pronta confirmada"
    ),
    "conversation": _words(
        "chamada conversa atendimento chat papo caso ligacao contato questao problema situacao demanda"
    ),
    "arriving": _verbs("cuid cham continu ajud auxili acompanh convers fal orient ced lig", _TO_DO)
    | _words("atender escrever assumir responder seguir prosseguir dar resolver entrar"),
    "taking_over": _verbs("cuid continu acompanh", _TO_DO) | _words("assumir prosseguir dar"),
    "arrived": _words(
        "cuidando seguindo segue iniciou assumiu assume assumindo atendendo continua entrou entrando"
        " pegou vindo chegou atende atendeu"
    ),
    "will_arrive": _words(
        "atendera entrara assumira continuara chamara falara ajudara prosseguira respondera dara"
    ),
    "attended": _words("atendido atendida"),
    "avisei": _words("avisei avisamos comuniquei notifiquei alertei sinalizei"),
    "baton": _words("palavra bastao bola vez posto"),
    "talks": _words("cuida cuidar fala falando falar conversa conversando conversar"),
    "will": _words("vai vao ira irao"),
    "vou": _words("vou vamos irei"),
    "estar": _words("estar estarei"),
    "soon": _words(
        "ja agora agr instantes instante momento momentos momentinho minutinho minutinhos minuto"
        " minutos segundos segundinho imediatamente jaja jajá logo breve pouquinho instantinho seguida"
    ),
    "wait": _words(
        "dai permaneca peraí perai guenta aguenta aguarde aguarda aguardem agora agr instante"
        " instantinho momento momentinho minutinho segundinho imediatamente"
    ),
    # ------------------------------------------------------------------------------ words around a claim
    "ja": _words("ja agora agr"),
    "sendo": _words("sendo"),
    "ser": _words("ser"),
    "acabou": _words("acabou acaba acabaram acabam"),
    "was": _words("foi foram fui fomos"),
    "is_now": _words(
        "esta estao ta tao tah estamos encontra encontram encontrando segue seguem continua consta constam"
    ),
    "estou": _words("estou to tou estamos tamos tamo"),
    "ficou": _words("ficou ficaram restou restaram"),
    "é": _words("é sao eh"),
    # Auxiliaries that make no statement of what happened: "é aberto", "será aberto", "precisa ser aberto".
    "open_aux": _words(
        "for forem ser sera serao seria seriam é sao era eram estiver estiverem esteja estejam fosse"
        " fossem sendo ter tiver tiverem tivesse teria fica ficam ficar ficara vai vao pode podem deve"
        " devem precisa precisam havendo"
    ),
    "adverb": _words(
        "hj agr ja agora agorinha aqui ali tambem tb tbm efetivamente devidamente sim hoje logo entao"
        " certinho direitinho corretamente imediatamente oficialmente formalmente ainda prontamente"
        " automaticamente assim mesmo finalmente enfim bem ai la so"
    ),
    "success": _words("sucesso agora agorinha aqui hoje ja sim certinho direitinho prioridade"),
    # A main verb after "chamado aberto …": the participle only describes ("o chamado aberto vai para …").
    "habit": _words(
        "entra entram tem é vai leva levam precisa precisam recebe recebem ganha ganham passa pode"
        " podem conta costuma costumam demora demoram cai caem sao deve devem aparece aparecem serve"
        " vale vira viram gera geram fica ficam segue seguem funciona contam expira perde some sera"
    ),
    "not": _words("nao n num quase nunca nem jamais nenhum nenhuma sem naum"),
    # "não se preocupe", "não precisa fazer nada": denies nothing that follows.
    "fake_not": _words(
        "fique fica preocupe preocupa precisa esqueca esquece esqueci perca perde deixe deixa feche"
        " apague desligue saia sai desanime desista so apenas somente demora demorou falhei"
    ),
    "nothing": _words("nada nenhum nenhuma nao"),
    "ainda": _words("ainda mais"),
    "clitic": _words("te lhe lhes me se nos o a os as lo la vos"),
    "te": _words("te lhe lo la"),
    "me": _words("me"),
    "possessive": _words("seu sua seus suas teu tua"),
    "article": _words(
        "o a os as um uma esse essa este esta novo nova nosso nossa nossos nossas meu minha aquele aquela"
    ),
    "the": _words("o a os as um uma seu sua seus suas"),
    "a_an": _words("um uma outro outra"),
    "plural": _words(
        "tickets chamados protocolos pedidos solicitacoes requisicoes reclamacoes queixas ocorrencias"
        " registros"
    ),
    "every": _words("todo toda todos todas qualquer cada quaisquer algum alguma alguns"),
    "prep": _words(
        "p c prum pruma para pra pro pros pras ao a aos com no na de do da dos das por em nos nas num"
        " numa ate sob"
    ),
    "of": _words("de do da dos das"),
    "for": _words("p para pra pro"),
    "by": _words("por pelo pela pelos pelas"),
    "with": _words("com c"),
    "you": _words("voce vc vcs voces ce senhor senhora sr sra contigo tu cliente clientes senhoria sa"),
    "account": _words("relato historico descricao comentario marido esposa mensagem print"),
    "he": _words("ele ela eles elas"),
    "i": _words("eu"),
    "que": _words("que q"),
    "who": _words("quem"),
    "se": _words("se"),
    "caso": _words("caso"),
    "and": _words(
        "e mas que porque pois ou so mesmo ver saber conferir verificar checar sabe vejo sei confirmar dizer"
    ),
    "when": _words("quando apos"),
    "when_that": _words("assim logo sempre depois antes ate desde"),
    "uma": _words("uma"),
    "vez": _words("vez"),
    "unsure": _words("talvez sera suponho provavelmente tomara espero"),
    "check": _words("verificar conferir saber checar confirmar ver garantir verifique confira confirme veja"),
    "but": _words("mas porem entretanto todavia contudo"),
    "need": _words("preciso precisamos falta manda mande envie confirme"),
    "asks": _words(
        "quem quando qual quais onde sera quer posso podemos deseja gostaria prefere sabe lembra como"
    ),
    "tag": _words(
        "ok ta viu blz beleza certo combinado bom entendeu tudo bem fechado pode ser tranquilo joia"
        " show ne n tabom ate sim e"
    ),
    "said": _words(
        "disse disseram falou falaram contou contaram comentou mencionou informou relatou explicou"
        " afirmou avisou garantiu escreveu citou reclamou comentaram informaram prometeram prometeu"
        " alegou apontou descreveu achou pensou entendeu perguntou dito falado contado"
    ),
    "gave": _words(
        "mandou enviou passou deu tem possui anotou recebeu informou citou mencionou guardou usou"
        " abriu digitou"
    ),
    "according": _words("segundo conforme pelo"),
    # A verb after the object of another: "abri o sistema pra ver seu pedido".
    "to_see": _words(
        "ver consultar olhar conferir checar analisar verificar achar procurar entender acompanhar localizar"
    ),
    "yesterday": _words("ontem anteontem vezes"),
    "third": _words(
        "anatel prefeitura procon enel cemig copel energisa cpfl equatorial concessionaria sindico"
        " condominio correios policia delegacia receita serasa vizinho vizinha banco boletim judicial"
        " reclameaqui fabricante morador"
    ),
    "sistema": _words("sistema equipe setor colega supervisor suporte financeiro gente pessoal atendente"),
    # A noun of these as the object or subject: the sentence speaks of that thing, not of a ticket.
    "other": _words(
        "fatura faturas boleto boletos contrato contratos linha conta loja lojas tela cadastro app"
        " aplicativo site sinal porta portas rede arquivo pdf foto link email mail e-mail senha codigo"
        " comprovante nota portal titularidade ponto valor saldo credito dinheiro pix chave telefone"
        " endereco roteador modem equipamento navegador pagina aba menu programa janela configuracao"
        " firmware visita plano debito parcela mensagem cpf cnpj documento nome carta agenda horario"
        " tutorial video manual passo lista lembrete via qr relatorio usuario acesso grupo excecao"
        " espaco vaga historico internet propriedade bancaria ted imagem print extrato planilha"
        " orcamento proposta simulacao caixa tampa rota canal canais"
    ),
    "daqui": _words("daqui"),
    "vague": _words("ter tiver tivesse teria ver deixar manter quer querer precisa preciso"),
    # ---------------------------------------------------------------------------------- words around a number
    "label": _words("protocolo protocolos ticket tickets tiquete tkt chamado chamados prot ordem"),
    "weak_label": _words(
        "localizador identificador atend atendimento registro pedido solicitacao requisicao"
        " reclamacao ocorrencia demanda manifestacao acompanhamento acompanhar acompanhe acompanha"
        " caso abertura"
    ),
    "numero": _words("sob numero numeros n no nro num codigo numeracao referencia ref id"),
    "other_label": _words(
        "cpf cnpj rg telefone fone tel celular whatsapp zap ligue ligar ligo liga ligacao ramal"
        " contrato boleto fatura barras digitavel valor valores conta agencia cartao cep nota nf pix"
        " chave serie serial onu mac ip porta portas modelo senha login vlan canal versao lote placa"
        " comprovante transacao autenticacao pin token sms dia dias reais plano mega rastreio"
        " rastreamento imei iccid chip usuario linha email site credito saldo boletos banco roteador"
        " cliente assinante apartamento apto rua avenida endereco ddd fixo documento identidade uc"
        " medidor loja compra disca disque sac patrimonio etiqueta ean bloco sala horario frequencia"
        " norma padrao velocidade"
    ),
    "unit": _words(
        "reais mega megas mb gb gbps mbps ghz mhz dias dia horas hora h minutos min meses mes anos"
        " ano metros km vezes por clientes pessoas chamados digitos numeros caracteres segundos graus"
        " pontos"
    ),
    "found": _words(
        "achei achamos encontrei encontramos localizei localizamos consta existe aparece vejo acho"
        " reconheco é bate corresponde veio confere retorna pertence abriu foi valido encontrado"
        " localizado consigo consegui esta reconhece acha localiza encontra puxa abre"
    ),
    "example": _words("exemplo tipo ex formato parecido modelo exemplos formatos"),
    "note_it": _words(
        "anotou anota anotar anote guarda guardar guarde salva salvar salve usa usar use informar informe"
    ),
    "ending": _words("final finais terminado termina terminada acaba ultimos digitos"),
    "this": _words("esse este isso isto aqui"),
    "as": _words("como"),
    "open_you": _words("abriu registrou fez tinha"),
    "light": _words("devido devida competente formal tecnico respectivo respectiva novo seguinte"),
    "done": _words("feito feita criado aberto registrado gerado"),
    "deu": _words("deu dei"),
    "status": _words("status situacao estado"),
    "live_human": _words(
        "atendente humano humana pessoa alguem supervisor supervisora especialista consultor colega gerente"
    ),
    "gave_me": _words("mandou enviou passou deu informou citou mencionou digitou"),
    "mim": _words("mim gente nos"),
    "became": _words("virou gerou originou rendeu"),
    "to_become": _words("virar gerar originar"),
    "turned_i": _words("transformei converti virei transformamos"),
    "sucesso": _words("sucesso"),
    "got": _words("puxou abracou recebeu pegou assumiu"),
    "next": _words("proximo proxima seguinte"),
    "caminho": _words("vem caminho chegando vindo"),
    "fila": _words("fila espera"),
    "maos": _words("mao maos cuidados"),
    "enquanto": _words("enquanto"),
    "transfer_now": _words("transfiro direciono encaminho conecto redireciono"),
    "em_nome": _words("nome cadastro endereco cpf"),
    "existing_strong": _words("existe consta constam ha temos"),
    "chega": _words(
        "chama atende responde fala continua assume ajuda escreve segue da prossegue chamam atendem respondem"
    ),
    "watching": _words(
        "esperando aguardando vendo lendo olhando ouvindo digitando analisando entrando falando"
    ),
    "chat": _words("conversa chat linha atendimento ca grupo"),
    "brought_i": _words("coloquei botei puxei trouxe inclui incluí marquei adicionei chamei convidei"),
    "fell": _words("caiu entrou foi segue continua passou"),
    "going": _words("indo"),
    "started_it": _words("comecou iniciou iniciado iniciada ativado ativada comecando"),
    "to_call": _words("chamar acionar convocar puxar"),
    "to_leave": _words("deixar entregar"),
    "to_enter": _words("entrar cair subir sair ir chegar"),
    "noted_i": _words("anotei anotamos gravei salvei inclui incluí"),
    "confirmo": _words("informar comunicar confirmo confirmamos informo informamos comunico comunicamos"),
    "general": _words("geral geralmente normalmente habitualmente costumeiramente tipicamente"),
    "did_transfer": _words("transferi transferimos"),
    "visit": _words("visita casa residencia tecnico rua loja ligar telefone"),
    "tomorrow": _words("amanha segunda terca quarta quinta sexta"),
    "e_conj": _words("e"),
    "interj": _words(
        "pronto prontinho show perfeito otimo maravilha isso oba opa entao olha vixe oxe eita feito"
        " certo ok beleza boa tranquilo resumindo tarde dia noite oi ola"
    ),
    "put_i": _words(
        "meti soltei disparei taquei despachei acionei consignei startei criei botei coloquei subi abri"
    ),
    "fica_deixo": _words("fica ficam deixo deixamos dou"),
    "proceeded": _words("procedeu deu realizou fez efetuou"),
    "dada": _words("dada dado"),
    "posicao": _words("posicao lugar"),
    "frente": _words("frente"),
    "searching": _words("aguardando buscando procurando localizando acionando chamando"),
    "starting": _words("iniciando ativando"),
    "assumed": _words("assumiu assume assumiram"),
    "soft_other": _words(
        "site dia dias email linha plano fatura boleto cliente roteador loja compra conta sms"
        " whatsapp banco valor velocidade endereco apto instalacao internet celular ligacao"
    ),
    "will_be": _words("sera serao"),
    "offers": _words("posso podemos quer deseja gostaria prefere algo alguma mais"),
    "dealt": _words("atendido atendida tratado tratada analisado analisada resolvido verificado priorizado"),
    "fine": _words("certo pronto ok certinho resolvido encaminhado"),
    "entered": _words("entrou subiu caiu"),
    "here": _words("daqui aqui adiante diante"),
    "tinha": _words("tinha havia"),
    "vem": _words("vem entra chega"),
    "making": _words(
        "fazendo realizando efetuando processando iniciando concluindo finalizando providenciando"
    ),
    "will_transfer_i": _words("transferirei encaminharei direcionarei passarei redirecionarei conectarei"),
    "will_make": _words("procederei farei realizarei efetuarei"),
    "continuity": _words("sequencia continuidade prosseguimento andamento inicio"),
    "gives": _words("da dara deu dao dei demos"),
    "conducted": _words("conduzido feito assumido realizado seguido acompanhado"),
    "attached_i": _words(
        "atualizei anexei vinculei adicionei inclui incluí complementei acrescentei atualizamos anexamos"
    ),
    "handled": _words(
        "processado processada analisado analisada tratado tratada acompanhado acompanhada avaliado"
        " avaliada verificado verificada resolvido resolvida atualizado atualizada"
    ),
    "pode": _words("pode"),
    "pronto": _words("pronto"),
    "gente": _words("gente"),
    "gave_entry": _words("deu"),
    "updated": _words("atualizado priorizado reaberto complementado"),
    "entered_end": _words("entrou"),
    "moved_they": _verbs(_MOVING, _THEY_DID, "transferiram"),
    "opening": _verbs(_OPENING, _DOING, "abrindo emitindo inserindo"),
    "reported_i": _words("reportei comuniquei relatei reportamos comunicamos"),
    "await": _words("aguarde aguarda aguardar aguardem"),
    "nao": _words("nao n nunca nem jamais nenhum nenhuma"),
    "self_service": _words("app aplicativo site portal telefone loja email totem"),
    "so": _words("so"),
    "deadline": _words("prazo previsao retorno protocolo numero"),
    "attendance": _words("atendimento"),
    "to_ask": _words("pedir solicitar requisitar"),
    "to_send": _verbs(_SENDING, _TO_DO, "remeter submeter"),
    "depends": _words("dependendo depende depender mediante"),
    # Habit or future as well as present: with a condition beside it, it is no statement.
    "in_present": _words("deixo deixamos assume atende entra segue continua chega passa responde fala chama"),
    "certainty": _words("confirmacao certeza garantia retorno prova como"),
    "month": _words(
        "janeiro fevereiro marco abril maio junho julho agosto setembro outubro novembro dezembro"
    ),
    "em": _words("em"),
    "past_time": _words("passado passada epoca anterior antigo antiga retrasado retrasada"),
    "closed": _words(
        "encerrado encerrada encerrados fechado fechada finalizado finalizada concluido concluida"
        " resolvido resolvida arquivado arquivada cancelado cancelada"
    ),
    "coming": _words("chamando contatando procurando respondendo escrevendo"),
}

# People leave a letter out or swap two ("chmado", "tranferi"). Only of long words: no other word is spelt so.
_OFTEN_MISSPELT = (
    "chamado chamados protocolo solicitacao reclamacao registrado registrada registrei transferido"
    " transferida transferindo transferi transferencia encaminhado encaminhada encaminhei encaminhando"
    " atendente atendimento"
)


def _misspellings(word: str) -> Iterable[str]:
    """The word with an inner letter left out, or with two inner neighbours swapped."""
    for place in range(1, len(word) - 1):
        yield word[:place] + word[place + 1 :]
        if place < len(word) - 2:
            yield word[:place] + word[place + 1] + word[place] + word[place + 2 :]


MISSPELT = {spelt: word for word in _OFTEN_MISSPELT.split() for spelt in _misspellings(word) if spelt != word}
"""The words meant by frequent misspellings. A word of `CLASSES` means itself, however it is listed here."""
